//! `(build-machine (FIELD VALUE) ..)`: the record, and the machine that it describes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::SchemeProblem;
use super::value::Value;
use crate::machines::{
    Compression, Machine, Origin, Problem, ProblemKind, Scheme, StoreUri, UnknownCompression,
};

/// The fields of `build-machine`: those of today's Guix (1.5.0), and at the end one that went away in 2016.
pub(super) const FIELDS: [&str; 16] = [
    "name",
    "port",
    "systems",
    "system",
    "user",
    "private-key",
    "host-key",
    "compression",
    "compression-level",
    "daemon-socket",
    "overload-threshold",
    "parallel-builds",
    "speed",
    "features",
    "location",
    "ssh-options",
];

/// The port of SSH.
const DEFAULT_PORT: u16 = 22;
/// zlib if the machine has it.
const DEFAULT_COMPRESSION: &str = "zlib@openssh.com,zlib";
/// As fast as it gets without being useless.
const DEFAULT_COMPRESSION_LEVEL: u8 = 3;
/// Guix 1.5.0's; 1.2.0 has 0.6.
const DEFAULT_OVERLOAD_THRESHOLD: f64 = 0.8;

/// A `build-machine` as it was written. Its fields are looked at only when it is asked for: it may be there to be
/// inherited from.
#[derive(Debug, Clone)]
pub(super) struct Record {
    origin: Origin,
    fields: Vec<(&'static str, Value, Origin)>,
}

impl Record {
    /// A record at `origin`, with the fields of another.
    pub(super) fn new(origin: Origin, inherited: Option<&Record>) -> Self {
        let fields = inherited.map_or_else(Vec::new, |record| {
            let own = |(name, _, _): &&(&str, Value, Origin)| *name != "location";
            record.fields.iter().filter(own).cloned().collect()
        });
        Record { origin, fields }
    }

    /// Gives a field a value, instead of one that is inherited.
    pub(super) fn set(&mut self, name: &'static str, value: Value, origin: Origin) {
        self.fields.retain(|(other, _, _)| *other != name);
        self.fields.push((name, value, origin));
    }

    /// The machine, and what is to be said about its entry although it stands.
    pub(super) fn machine(&self) -> Result<(Machine, Vec<Problem>), Problem> {
        let missing: Vec<_> = ["name", "user", "host-key"]
            .into_iter()
            .filter(|name| self.field(name).is_none())
            .collect();
        if !missing.is_empty() {
            return Err(Problem::new(
                self.origin(),
                SchemeProblem::MissingFields(missing),
            ));
        }
        let mut remarks = Vec::new();
        let systems = self.systems(&mut remarks)?;
        if let Some((_, _, origin)) = self.field("ssh-options") {
            let kind = SchemeProblem::ObsoleteField("ssh-options");
            remarks.push(Problem::new(origin.clone(), kind));
        }
        let name = self.text("name")?.unwrap_or_default();
        let machine = Machine {
            uri: self.uri(&name)?,
            name,
            systems,
            ssh_key: self.text_or_false("private-key")?.map(PathBuf::from),
            max_jobs: self
                .whole("parallel-builds", "a whole number", u32::MAX)?
                .unwrap_or(1),
            speed_factor: self.speed()?,
            supported_features: self.texts("features")?.unwrap_or_default(),
            mandatory_features: BTreeSet::new(),
            host_key: Some(self.host_key()?),
            compression: self.compression()?,
            daemon_socket: self.text("daemon-socket")?,
            overload_threshold: self.overload_threshold()?,
            is_complete: true,
            remote_program: Vec::new(),
            remote_store: None,
            max_connections: None,
            origin: self.origin(),
        };
        Ok((machine, remarks))
    }

    /// Where Guix says that it stood, else where it was read.
    fn origin(&self) -> Origin {
        let location = self
            .field("location")
            .and_then(|(_, value, _)| match value {
                Value::List(list) => Some(list.items()),
                _ => None,
            });
        match location {
            Some(
                [
                    Value::String(file),
                    Value::Number(line),
                    Value::Number(column),
                ],
            ) => Origin {
                source: file.to_string(),
                line: *line as usize,
                // Guile counts from 0.
                column: Some(*column as usize + 1),
            },
            _ => self.origin.clone(),
        }
    }

    fn uri(&self, name: &str) -> Result<StoreUri, Problem> {
        let user = self.text("user")?.unwrap_or_default();
        let port = self.whole("port", "a port from 1 to 65535", u16::MAX)?;
        if port == Some(0) {
            return Err(self.wrong("port", "a port from 1 to 65535"));
        }
        let port = port.filter(|port| *port != DEFAULT_PORT);
        StoreUri::from_parts(Scheme::Ssh, Some(&user), name, port)
            .map_err(|error| self.about("name", error.into()))
    }

    fn systems(&self, remarks: &mut Vec<Problem>) -> Result<BTreeSet<String>, Problem> {
        let is_set = |name| {
            self.field(name)
                .filter(|(_, value, _)| !matches!(value, Value::Bool(false)))
        };
        let systems = match (is_set("systems"), is_set("system")) {
            (Some(_), _) => self.texts("systems")?.unwrap_or_default(),
            (None, Some((_, _, origin))) => {
                remarks.push(Problem::new(
                    origin.clone(),
                    SchemeProblem::DeprecatedSystem,
                ));
                self.text("system")?.into_iter().collect()
            }
            (None, None) => BTreeSet::new(),
        };
        match systems.is_empty() {
            true => Err(Problem::new(self.origin(), SchemeProblem::NoSystem)),
            false => Ok(systems),
        }
    }

    fn host_key(&self) -> Result<String, Problem> {
        let key = self.text("host-key")?.unwrap_or_default();
        match key.split_ascii_whitespace().count() {
            0 | 1 => Err(self.wrong("host-key", "a public key line")),
            _ => Ok(key.trim().to_owned()),
        }
    }

    fn compression(&self) -> Result<Compression, Problem> {
        let methods = self.text("compression")?;
        let methods = methods.as_deref().unwrap_or(DEFAULT_COMPRESSION);
        let unknown = |error: UnknownCompression| self.about("compression", error.into());
        let expected = "a whole number from 1 to 9";
        let level = self.whole("compression-level", expected, u8::MAX)?;
        let level = level.unwrap_or(DEFAULT_COMPRESSION_LEVEL);
        if !Compression::LEVELS.contains(&level) {
            return Err(self.wrong("compression-level", expected));
        }
        Ok(Compression {
            methods: Compression::parse_methods(methods).map_err(unknown)?,
            level,
        })
    }

    fn speed(&self) -> Result<f64, Problem> {
        match self.value("speed")? {
            None => Ok(1.0),
            Some(Value::Number(speed)) if *speed > 0.0 => Ok(*speed),
            Some(_) => Err(self.wrong("speed", "a number above 0")),
        }
    }

    fn overload_threshold(&self) -> Result<Option<f64>, Problem> {
        match self.value("overload-threshold")? {
            None => Ok(Some(DEFAULT_OVERLOAD_THRESHOLD)),
            Some(Value::Bool(false)) => Ok(None),
            Some(Value::Number(load)) if *load >= 0.0 => Ok(Some(*load)),
            Some(_) => Err(self.wrong("overload-threshold", "a number from 0 on, or #f")),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    fn text_or_false(&self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.value(name)? {
            None | Some(Value::Bool(false)) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(self.wrong(name, "a string or #f")),
        }
    }

    fn texts(&self, name: &'static str) -> Result<Option<BTreeSet<String>>, Problem> {
        let wrong = || self.wrong(name, "a list of strings");
        let items = match self.value(name)? {
            None => return Ok(None),
            Some(Value::List(list)) => list.items(),
            Some(_) => return Err(wrong()),
        };
        let texts = items.iter().map(|item| match item {
            Value::String(text) => Ok(text.to_string()),
            Value::Failed(problem) => Err((**problem).clone()),
            _ => Err(wrong()),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    fn whole<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        most: T,
    ) -> Result<Option<T>, Problem>
    where
        T: TryFrom<u64> + Into<f64> + Copy,
    {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::Number(number))
                if number.fract() == 0.0 && (0.0..=most.into()).contains(number) =>
            {
                Ok(T::try_from(*number as u64).ok())
            }
            Some(_) => Err(self.wrong(name, expected)),
        }
    }

    /// The field's value, if it is there and has one.
    fn value(&self, name: &'static str) -> Result<Option<&Value>, Problem> {
        match self.field(name) {
            None => Ok(None),
            Some((_, Value::Failed(problem), _)) => Err((**problem).clone()),
            Some((_, value, _)) => Ok(Some(value)),
        }
    }

    fn field(&self, name: &str) -> Option<&(&'static str, Value, Origin)> {
        self.fields.iter().find(|(other, _, _)| *other == name)
    }

    fn wrong(&self, field: &'static str, expected: &'static str) -> Problem {
        self.about(field, SchemeProblem::FieldValue { field, expected }.into())
    }

    fn about(&self, field: &'static str, kind: ProblemKind) -> Problem {
        let origin = self.field(field).map(|(_, _, origin)| origin.clone());
        Problem::new(origin.unwrap_or_else(|| self.origin()), kind)
    }
}
