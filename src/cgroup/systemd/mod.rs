//! The systemd driver: a transient scope through D-Bus (org.freedesktop.systemd1(5)), its limits, its end. It decides
//! no value: the plan says which properties, the record which unit. Every wait has a bound; what cannot be had from
//! systemd is an error with systemd's own words.

pub(crate) mod address;
mod bus;
mod marshal;

use crate::error::{Error, Result};
use crate::plan::cgroup::path::CgroupPath;
use crate::plan::cgroup::systemd::name::UnitName;
use crate::plan::cgroup::systemd::{Manager, Property, Scope};
use bus::{Answer, Bus, Call, Refusal, Signal, the_bus};
use marshal::Named;
use rustbus::message_builder::MarshalledMessage;
use rustbus::wire::ObjectPath;
use std::time::{Duration, Instant};

/// How long systemd may take for a job.
const JOB_BOUND: Duration = Duration::from_secs(30);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: (&str, &str, &str) =
    (SYSTEMD, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
const SCOPE: &str = "org.freedesktop.systemd1.Scope";

/// A scope that exists, or is about to: enough to find it again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ScopeRecord {
    /// Its name.
    pub(crate) unit: UnitName,
    /// The D-Bus address where its systemd is.
    pub(crate) address: String,
}

/// A connection to systemd.
#[derive(Debug)]
pub(crate) struct Systemd {
    bus: Bus,
}

/// What systemd has to do.
#[derive(Debug)]
struct Job {
    /// Its object.
    path: String,
    /// systemd, by the name that the bus gave its connection.
    sender: Option<String>,
}

impl Job {
    /// That the answer to a call names.
    fn of(reply: &MarshalledMessage) -> Result<Self> {
        Ok(Job { path: path(reply)?, sender: reply.dynheader.sender.clone() })
    }
}

/// What came of starting a scope.
#[derive(Debug)]
pub(crate) enum Started {
    /// It runs, with the process in it.
    Running,
    /// systemd does not want it, so that there is none, or none of ours.
    Refused(Error),
}

/// What came of changing properties.
#[derive(Debug)]
pub(crate) enum Told {
    /// There was nothing to change.
    Nothing,
    /// It has all of them.
    All,
    /// It gave no answer, so that it may have them.
    Perhaps(Error),
}

impl Systemd {
    /// Connects to the machine's systemd, or the user's.
    pub(crate) fn connect(user: bool) -> Result<Self> {
        Ok(Systemd { bus: Bus::connect(&address::of(user)?)? })
    }

    /// What planning may know of it.
    pub(crate) fn manager(&mut self, user: bool) -> Result<Manager> {
        let control_group = self.bus.send(get(MANAGER.1, MANAGER.2, "ControlGroup")?)?;
        let version = self.version()?;
        let control_group = text(&self.bus.answer(&control_group)?.map_err(Refusal::error)?)?;
        let control_group = control_group.trim_end_matches('/').to_owned();
        Ok(Manager { version, control_group, user })
    }

    fn version(&mut self) -> Result<u32> {
        let version = self.bus.call(get(MANAGER.1, MANAGER.2, "Version")?)?.map_err(Refusal::error)?;
        text(&version).map(|version| major(&version))
    }

    /// The record of a scope that this systemd is about to make.
    pub(crate) fn record(&self, scope: &Scope) -> ScopeRecord {
        ScopeRecord { unit: scope.unit.clone(), address: self.bus.address().to_owned() }
    }

    /// Starts the scope around a process, and waits until it is there. A dead scope of the same name that nobody has
    /// cleared away is cleared away first.
    pub(crate) fn start(&mut self, scope: &Scope, pid: i32) -> Result<Started> {
        self.listen(&scope.unit)?;
        let mut answer = self.start_once(scope, pid)?;
        if answer.as_ref().is_err_and(|refusal| refusal.name == "org.freedesktop.systemd1.UnitExists") {
            // That it is not there any more is what we want.
            let _ = self.on_unit("ResetFailedUnit", &scope.unit)?;
            answer = self.start_once(scope, pid)?;
        }
        let job = match answer {
            Ok(reply) => Job::of(&reply)?,
            Err(refusal) => return Ok(Started::Refused(refusal.error())),
        };
        match self.job(&job)? {
            Some(result) if result == "done" => Ok(Started::Running),
            Some(result) => Err(Error::new(format!(
                "the job that starts {} ended with the result {result:?}",
                scope.unit.as_str()
            ))
            .hint(format!("see `journalctl -u {}`", scope.unit.as_str()))),
            None => {
                Err(Error::new(format!("systemd did not start {} within {JOB_BOUND:?}", scope.unit.as_str()))
                    .hint("see `systemctl list-jobs`"))
            }
        }
    }

    fn start_once(&mut self, scope: &Scope, pid: i32) -> Result<Answer> {
        let mut properties: Vec<Named<'_>> = scope.properties.iter().map(Named::of).collect();
        let pids = [pid as u32];
        properties.push(Named::pids(&pids));
        let none: &[(&str, &[Named<'_>])] = &[];
        let call = Call::new(MANAGER, "StartTransientUnit", scope.unit.as_str());
        self.bus.call(call.with(scope.unit.as_str())?.with("fail")?.with(&properties[..])?.with(none)?)
    }

    /// Ends the scope, and waits until systemd has forgotten it. One that it does not know is fine. One that has
    /// another cgroup than these is somebody else's, and left alone; one without a cgroup is dead, or not yet alive.
    pub(crate) fn stop(&mut self, unit: &UnitName, ours: &[&CgroupPath]) -> Result<()> {
        self.listen(unit)?;
        match self.control_group(unit)? {
            Some(path) if path.is_empty() || ours.iter().any(|ours| ours.to_string() == path) => {}
            _ => return Ok(()),
        }
        let call = Call::new(MANAGER, "StopUnit", unit.as_str()).with(unit.as_str())?.with("replace")?;
        let job = match self.bus.call(call)? {
            Ok(reply) => Job::of(&reply)?,
            Err(refusal) if unknown(&refusal) => return Ok(()),
            Err(refusal) => return Err(refusal.error()),
        };
        self.job(&job)?;
        match self.on_unit("ResetFailedUnit", unit)? {
            Err(refusal) if !unknown(&refusal) => return Err(refusal.error()),
            _ => {}
        }
        let deadline = Instant::now() + JOB_BOUND;
        while !self.is_forgotten(unit)? {
            if !self.heard(&job, deadline, "UnitRemoved", |_| true)? {
                return Err(Error::new(format!(
                    "systemd still has {} {JOB_BOUND:?} after its end",
                    unit.as_str()
                ))
                .hint(format!("see `systemctl status {}`", unit.as_str())));
            }
        }
        Ok(())
    }

    /// Where the unit's cgroup is, below the mount points; empty: it has none. None: there is no such unit.
    fn control_group(&mut self, unit: &UnitName) -> Result<Option<String>> {
        let object = match self.on_unit("GetUnit", unit)? {
            Ok(reply) => path(&reply)?,
            Err(refusal) if unknown(&refusal) => return Ok(None),
            Err(refusal) => return Err(refusal.error()),
        };
        match self.bus.call(get(&object, SCOPE, "ControlGroup")?)? {
            Ok(reply) => text(&reply).map(Some),
            // It has gone meanwhile.
            Err(refusal) if unknown(&refusal) || refusal.name.ends_with(".UnknownObject") => Ok(None),
            Err(refusal) => Err(refusal.error()),
        }
    }

    /// Sets properties until the unit's end.
    fn set(&mut self, unit: &UnitName, properties: &[Property]) -> Result<Told> {
        let properties: Vec<Named<'_>> = properties.iter().map(Named::of).collect();
        let call = Call::new(MANAGER, "SetUnitProperties", unit.as_str());
        match self.bus.call(call.with(unit.as_str())?.with(true)?.with(&properties[..])?) {
            Ok(answer) => answer.map(|_| Told::All).map_err(Refusal::error),
            Err(error) => Ok(Told::Perhaps(error)),
        }
    }

    /// Asks for the signals of what becomes of a unit, before anything is done to it.
    fn listen(&mut self, unit: &UnitName) -> Result<()> {
        let rule = |member: &str, argument: u32| {
            let unit = unit.as_str();
            let rule = format!(
                "type='signal',sender='{SYSTEMD}',interface='{}',member='{member}',arg{argument}='{unit}'",
                MANAGER.2
            );
            Call::new(the_bus(), "AddMatch", member).with(&rule[..])
        };
        let sent = [
            self.bus.send(rule("JobRemoved", 2)?)?,
            self.bus.send(rule("UnitRemoved", 0)?)?,
            self.bus.send(Call::new(MANAGER, "Subscribe", ""))?,
        ];
        for call in &sent {
            match self.bus.answer(call)? {
                Err(refusal) if refusal.name.ends_with(".AlreadySubscribed") => {}
                answer => drop(answer.map_err(Refusal::error)?),
            }
        }
        Ok(())
    }

    /// The result of a job, when it has one; None: not within the bound.
    fn job(&mut self, job: &Job) -> Result<Option<String>> {
        let mut result = None;
        self.heard(job, Instant::now() + JOB_BOUND, "JobRemoved", |signal| {
            let mut arguments = signal.message.body.parser();
            let of_it = arguments.get::<u32>().is_ok()
                && arguments.get::<ObjectPath<&str>>().is_ok_and(|path| path.as_ref() == job.path);
            if of_it {
                result = arguments.get::<&str>().and_then(|_| arguments.get::<String>()).ok();
            }
            of_it
        })?;
        Ok(result)
    }

    /// Waits for a signal of who has the job; false when the time is over.
    fn heard(
        &mut self,
        job: &Job,
        deadline: Instant,
        member: &str,
        mut is_it: impl FnMut(&Signal) -> bool,
    ) -> Result<bool> {
        while Instant::now() < deadline
            && let Some(signal) = self.bus.signal(deadline)?
        {
            if signal.member == member && self.is_from(&signal, job)? && is_it(&signal) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether who has the job has sent it: the bus passes on to us, whatever we listen to, what anybody sends to us
    /// alone. A systemd that has executed itself anew has another name.
    fn is_from(&mut self, signal: &Signal, job: &Job) -> Result<bool> {
        let sender = &signal.message.dynheader.sender;
        if *sender == job.sender {
            return Ok(true);
        }
        let owner = self.bus.call(Call::new(the_bus(), "GetNameOwner", SYSTEMD).with(SYSTEMD)?)?;
        let owner = owner.map(|reply| reply.body.parser().get::<String>().ok());
        Ok(owner.is_ok_and(|owner| owner.is_some() && owner == *sender))
    }

    /// A method that takes a unit's name and nothing else.
    fn on_unit(&mut self, method: &str, unit: &UnitName) -> Result<Answer> {
        self.bus.call(Call::new(MANAGER, method, unit.as_str()).with(unit.as_str())?)
    }

    fn is_forgotten(&mut self, unit: &UnitName) -> Result<bool> {
        match self.on_unit("GetUnit", unit)? {
            Ok(_) => Ok(false),
            Err(refusal) if unknown(&refusal) => Ok(true),
            Err(refusal) => Err(refusal.error()),
        }
    }
}

/// Ends the scope, wherever its systemd is; see [`Systemd::stop`]. Where nobody can be reached there is nothing to do:
/// systemd itself ends a scope that has become empty.
pub(crate) fn stop(record: &ScopeRecord, ours: &[&CgroupPath]) -> Result<()> {
    match Bus::connect(&record.address) {
        Ok(bus) => Systemd { bus }.stop(&record.unit, ours),
        Err(_) => Ok(()),
    }
}

/// Changes properties of a running scope, until its end only; `properties` says which, for this version of systemd.
/// systemd checks all of them before it takes one.
///
/// # Errors
/// systemd's own words, or that it cannot be reached: it has taken none.
pub(crate) fn change(
    record: &ScopeRecord,
    properties: impl FnOnce(u32) -> Result<Vec<Property>>,
) -> Result<Told> {
    let mut systemd = Systemd { bus: Bus::connect(&record.address)? };
    let properties = properties(systemd.version()?)?;
    if properties.is_empty() { Ok(Told::Nothing) } else { systemd.set(&record.unit, &properties) }
}

/// A call for a property of one of systemd's objects.
fn get(object: &str, interface: &str, property: &str) -> Result<Call> {
    let to = (SYSTEMD, object, "org.freedesktop.DBus.Properties");
    Call::new(to, "Get", property).with(interface)?.with(property)
}

/// There is no such unit.
fn unknown(refusal: &Refusal) -> bool {
    refusal.name == "org.freedesktop.systemd1.NoSuchUnit"
}

/// The number that a version begins with: `252.30-1~deb12u2`, `v257`.
fn major(version: &str) -> u32 {
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The text in an answer that has a variant of one.
fn text(reply: &MarshalledMessage) -> Result<String> {
    let variant = reply.body.parser().get::<rustbus::wire::unmarshal::traits::Variant<'_, '_>>();
    variant.and_then(|variant| variant.get()).map_err(no_answer)
}

/// The path in an answer that has one.
fn path(reply: &MarshalledMessage) -> Result<String> {
    let path = reply.body.parser().get::<ObjectPath<&str>>();
    path.map(|path| path.as_ref().to_owned()).map_err(no_answer)
}

fn no_answer(error: impl std::fmt::Display) -> Error {
    Error::new(format!("systemd gave another answer than was asked for: {error}"))
}
