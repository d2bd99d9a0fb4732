//! One numbered sentence of the runtime-spec and its test.

use crate::harness::{Layout, Need, Sandbox};

/// How strong the sentence is (RFC 2119). A property whose own section has no such word is a MUST, because of
/// runtime.md, Create: all properties must be applied, or an error be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Must,
    MustNot,
    Should,
    ShouldNot,
}

// As the declarations write them.
pub(crate) const MUST: Level = Level::Must;
pub(crate) const MUST_NOT: Level = Level::MustNot;
pub(crate) const SHOULD: Level = Level::Should;
pub(crate) const SHOULD_NOT: Level = Level::ShouldNot;

impl Level {
    /// As the specification writes it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::MustNot => "MUST NOT",
            Level::Should => "SHOULD",
            Level::ShouldNot => "SHOULD NOT",
        }
    }

    /// Whether a runtime that fails is not compliant.
    pub(crate) fn is_must(self) -> bool {
        matches!(self, Level::Must | Level::MustNot)
    }
}

/// A sentence and its test.
pub(crate) struct Clause {
    /// Never given to another sentence.
    pub(crate) number: u16,
    /// How strong it is.
    pub(crate) level: Level,
    /// The heading it stands under.
    pub(crate) section: &'static str,
    /// What is demanded of the runtime, in our words, read behind the level.
    pub(crate) statement: &'static str,
    /// The test's name within its file.
    pub(crate) name: &'static str,
    /// What the machine must have; otherwise the test is skipped.
    pub(crate) needs: &'static [Need],
    /// The test; it fails by panicking.
    pub(crate) body: fn(&mut Sandbox),
}

/// A file of tests, of one document of the specification.
pub(crate) struct File {
    /// The document.
    pub(crate) document: &'static str,
    /// Its module's name.
    pub(crate) module: &'static str,
    /// In the order of their numbers.
    pub(crate) clauses: &'static [Clause],
}

/// A sentence on a layout: what is run, and counted.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    pub(crate) layout: Layout,
    pub(crate) file: &'static File,
    pub(crate) clause: &'static Clause,
}

impl Item {
    /// What filters are compared with.
    pub(crate) fn name(&self) -> String {
        format!("{}::{}::{}", self.layout.name(), self.file.module, self.clause.name)
    }

    /// The sentence on one line.
    pub(crate) fn sentence(&self) -> String {
        let Clause { number, level, section, statement, .. } = self.clause;
        format!("{number} {}, {section}: {} {statement}", self.file.document, level.words())
    }
}

/// Declares the `CLAUSES` of a file: number, level, section, statement, name; the test's body, if it is not the function
/// of that name; what it needs.
macro_rules! clauses {
    ($($number:literal $level:ident $section:literal, $statement:literal => $name:ident $(= $body:expr)? $(, $need:expr)*;)*) => {
        /// The sentences of this file.
        pub(crate) const CLAUSES: &[$crate::clause::Clause] = &[$(
            $crate::clause::Clause {
                number: $number,
                level: $crate::clause::$level,
                section: $section,
                statement: $statement,
                name: stringify!($name),
                needs: &[$($need),*],
                body: clauses!(@body $name $(, $body)?),
            }
        ),*];
    };
    (@body $name:ident) => { $name };
    (@body $name:ident, $body:expr) => { $body };
}
