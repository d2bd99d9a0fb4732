//! Properties as D-Bus has them: `(sv)`, a name and a value with its type.

use crate::plan::cgroup::systemd::{Property, Value};
use rustbus::signature::{self, Container, StructTypes};
use rustbus::wire::errors::MarshalError;
use rustbus::wire::marshal::MarshalContext;
use rustbus::wire::marshal::traits::SignatureBuffer;
use rustbus::{Marshal, Signature};

/// A name and a value.
pub(super) struct Named<'a>(&'a str, Typed<'a>);

enum Typed<'a> {
    Value(&'a Value),
    Pids(&'a [u32]),
}

impl<'a> Named<'a> {
    /// A property of the plan.
    pub(super) fn of(property: &'a Property) -> Self {
        Named(&property.name, Typed::Value(&property.value))
    }

    /// The processes of a scope.
    pub(super) fn pids(pids: &'a [u32]) -> Self {
        Named("PIDs", Typed::Pids(pids))
    }
}

impl Signature for Named<'_> {
    fn signature() -> signature::Type {
        let parts = vec![<&str>::signature(), signature::Type::Container(Container::Variant)];
        let parts = StructTypes::new(parts).expect("a struct of two is none without members");
        signature::Type::Container(Container::Struct(parts))
    }

    fn alignment() -> usize {
        8
    }

    fn sig_str(buffer: &mut SignatureBuffer) {
        buffer.push_static("(sv)");
    }

    fn has_sig(signature: &str) -> bool {
        signature.starts_with("(sv)")
    }
}

impl Marshal for Named<'_> {
    fn marshal(&self, ctx: &mut MarshalContext<'_, '_>) -> Result<(), MarshalError> {
        ctx.align_to(8);
        self.0.marshal(ctx)?;
        match &self.1 {
            Typed::Pids(pids) => pids.marshal_as_variant(ctx),
            Typed::Value(Value::Bool(on)) => on.marshal_as_variant(ctx),
            Typed::Value(Value::I32(number)) => number.marshal_as_variant(ctx),
            Typed::Value(Value::U64(number)) => number.marshal_as_variant(ctx),
            Typed::Value(Value::Text(text)) => text.marshal_as_variant(ctx),
            Typed::Value(Value::Texts(texts)) => texts.marshal_as_variant(ctx),
            Typed::Value(Value::Bytes(bytes)) => bytes.marshal_as_variant(ctx),
            Typed::Value(Value::Pairs(pairs)) => pairs.marshal_as_variant(ctx),
        }
    }
}
