//! Which bus to speak to (D-Bus Specification, Server Addresses; systemd.unit(5)). Only sockets with a path: an
//! abstract name belongs to whoever took it first.

use crate::error::{Error, Result};
use std::path::PathBuf;

/// The machine's bus, unless the environment says another.
const SYSTEM: &str = "unix:path=/run/dbus/system_bus_socket";

/// The machine's bus, or the user's. The environment decides first.
///
/// # Errors
/// A user whose environment names no bus.
pub(crate) fn of(user: bool) -> Result<String> {
    choose(user, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn choose(user: bool, variable: impl Fn(&str) -> Option<String>) -> Result<String> {
    if !user {
        return Ok(variable("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| SYSTEM.to_owned()));
    }
    let own = || {
        variable("XDG_RUNTIME_DIR").map(|folder| format!("unix:path={}", escaped(&format!("{folder}/bus"))))
    };
    variable("DBUS_SESSION_BUS_ADDRESS").or_else(own).ok_or_else(|| {
        Error::new("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR says where the user's D-Bus is")
            .hint("log in as the user, or let `loginctl enable-linger` start the user's systemd")
    })
}

/// The sockets of an address, in the order in which they are to be tried.
pub(crate) fn paths(address: &str) -> Result<Vec<PathBuf>> {
    let options = |one: &str| one.strip_prefix("unix:").map(str::to_owned);
    let path = |options: String| {
        let value = options.split(',').find_map(|pair| pair.strip_prefix("path="))?;
        unescaped(value).map(PathBuf::from)
    };
    let paths: Vec<PathBuf> = address.split(';').filter_map(options).filter_map(path).collect();
    match paths.is_empty() {
        true => Err(Error::new(format!("the D-Bus address {address:?} has no unix:path="))),
        false => Ok(paths),
    }
}

/// Bytes that need no escape in an address.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte)
}

fn escaped(path: &str) -> String {
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    path.bytes().map(one).collect()
}

fn unescaped(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides() {
        let with = |user, set: &[(&str, &str)]| {
            choose(user, |name| set.iter().find(|one| one.0 == name).map(|one| one.1.to_owned()))
        };
        let (system, session) = ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS");
        assert_eq!(with(false, &[]).unwrap(), SYSTEM);
        assert_eq!(with(false, &[(system, "unix:path=/x"), (session, "y")]).unwrap(), "unix:path=/x");
        assert_eq!(with(true, &[(system, "x"), (session, "unix:path=/y")]).unwrap(), "unix:path=/y");
        assert_eq!(with(true, &[("XDG_RUNTIME_DIR", "/run/a b")]).unwrap(), "unix:path=/run/a%20b/bus");
        assert!(with(true, &[]).unwrap_err().to_string().contains("XDG_RUNTIME_DIR"));
    }

    #[test]
    fn sockets_with_a_path() {
        let list = |address: &str| {
            paths(address).map(|list| list.iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(
            list("unix:path=/a%20b,guid=00;unix:abstract=x;unix:guid=1,path=/c").unwrap(),
            ["/a b", "/c"]
        );
        for address in ["", "tcp:host=x", "unix:abstract=/a", "unix:path=%zz", "unix:path=%2"] {
            assert!(paths(address).is_err(), "{address}");
        }
    }
}
