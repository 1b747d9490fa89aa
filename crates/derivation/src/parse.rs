//! Bytes as a derivation.
//!
//! Each parser takes the bytes from where it begins and gives back those from where it ended; its doc shows typical input.
//! None of them looks twice at a byte to choose a way: the next byte decides.

pub(crate) mod string;

use std::ops::Range;

use nom::{IResult, Parser};
use store_path::{StoreDir, StorePathCow, StorePathRef};

use self::string::{name, string, text};
use crate::error::{Entries, Error, ErrorKind, Expected};
use crate::print::{DYNAMIC_HEADER, HEADER};
use crate::sorted::Disorder;
use crate::{
    Bytes, Derivation, MAX_DYNAMIC_DEPTH, Output, OutputName, SortedMap, SortedSet, WantedOutputs,
};

/// What a parser gives: the bytes behind what it read, and what it read.
type Parsed<'a, T> = IResult<&'a [u8], T, Fault<'a>>;

/// What is wrong, and the bytes from there on. It becomes an [`Error`] once the start of the file is known again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault<'a> {
    at: &'a [u8],
    kind: ErrorKind,
}

impl<'a> nom::error::ParseError<&'a [u8]> for Fault<'a> {
    /// Only for nom's own parsers, of which none that can fail is in use.
    fn from_error_kind(at: &'a [u8], _: nom::error::ErrorKind) -> Self {
        Self {
            at,
            kind: ErrorKind::Expected(Expected::EndOfFile),
        }
    }

    fn append(_: &'a [u8], _: nom::error::ErrorKind, fault: Self) -> Self {
        fault
    }
}

fn fail<'a, T>(at: &'a [u8], kind: ErrorKind) -> Parsed<'a, T> {
    Err(nom::Err::Error(Fault { at, kind }))
}

/// Where the lists that hashes leave out stand in a file, brackets and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    pub(crate) outputs: Range<usize>,
    pub(crate) input_derivations: Range<usize>,
    /// Where the first variable of the environment begins, or would.
    pub(crate) environment: usize,
}

/// The whole file.
pub(crate) fn derivation<'a>(
    dir: &StoreDir,
    file: &'a [u8],
) -> Result<(Derivation<'a>, Sections), Error> {
    match sections(dir, file) {
        Ok((_, parsed)) => Ok(parsed),
        Err(nom::Err::Error(Fault { at, kind }) | nom::Err::Failure(Fault { at, kind })) => {
            Err(Error::new(file.len() - at.len(), kind, at))
        }
        Err(nom::Err::Incomplete(_)) => unreachable!("no parser here is a streaming one"),
    }
}

/// `Derive([…],[…],[…],"x86_64-linux","/bin/sh",[…],[…])`, to the end of the file.
fn sections<'a>(dir: &StoreDir, file: &'a [u8]) -> Parsed<'a, (Derivation<'a>, Sections)> {
    let offset = |rest: &[u8]| file.len() - rest.len();
    let (start, dynamic) = header(file)?;
    let (rest, outputs) = outputs(dir, start)?;
    let outputs_range = offset(start)..offset(rest);
    let (start, ()) = comma(rest)?;
    let (rest, input_derivations) = input_derivations(dir, dynamic, start)?;
    let inputs_range = offset(start)..offset(rest);
    let (rest, ()) = comma(rest)?;
    let (rest, input_sources) = input_sources(dir, rest)?;
    let (rest, (_, system, _, builder, _)) = (comma, text, comma, string, comma).parse(rest)?;
    let (start, (arguments, ())) = (arguments, comma).parse(rest)?;
    let (rest, environment) = environment(start)?;
    let (rest, ()) = token(b')', Expected::DerivationEnd)(rest)?;
    if !rest.is_empty() {
        return fail(rest, ErrorKind::Expected(Expected::EndOfFile));
    }
    let derivation = Derivation {
        outputs,
        input_derivations,
        input_sources,
        system,
        builder,
        arguments,
        environment,
    };
    if dynamic && !derivation.has_dynamic_inputs() {
        return fail(file, ErrorKind::NotDynamic);
    }
    let sections = Sections {
        outputs: outputs_range,
        input_derivations: inputs_range,
        environment: offset(start) + 1,
    };
    Ok((rest, (derivation, sections)))
}

/// `Derive(`, or `DrvWithVersion("xp-dyn-drv",`, which is true.
fn header(file: &[u8]) -> Parsed<'_, bool> {
    if let Some(rest) = file.strip_prefix(HEADER) {
        return Ok((rest, false));
    }
    if let Some(rest) = file.strip_prefix(DYNAMIC_HEADER) {
        return Ok((rest, true));
    }
    match file.strip_prefix(b"DrvWithVersion(") {
        Some(version) => fail(version, ErrorKind::Version),
        None => fail(file, ErrorKind::Expected(Expected::Header)),
    }
}

/// `[("out","/nix/store/…","",""),…]`
fn outputs<'a>(
    dir: &StoreDir,
    input: &'a [u8],
) -> Parsed<'a, SortedMap<OutputName<'a>, Output<'a>>> {
    map(Entries::Outputs, input, |entry| {
        let (rest, (_, name, _)) = (entry_start, name, comma).parse(entry)?;
        let (rest, output) = output(dir, rest)?;
        let (rest, _) = entry_end(rest)?;
        Ok((rest, (name, output)))
    })
}

/// `"/nix/store/…","r:sha256","e3b0…"`; errors point to the path.
fn output<'a>(dir: &StoreDir, input: &'a [u8]) -> Parsed<'a, Output<'a>> {
    let (rest, path) = match input.strip_prefix(b"\"\"") {
        Some(rest) => (rest, None),
        None => {
            store_path(dir, input).map(|(rest, path)| (rest, Some(StorePathCow::Borrowed(path))))?
        }
    };
    // Nearly every output is of this kind.
    if let Some(rest) = rest.strip_prefix(b",\"\",\"\"") {
        return Ok((
            rest,
            path.map_or(Output::Deferred, |path| Output::InputAddressed { path }),
        ));
    }
    let (rest, (_, algorithm, _, hash)) = (comma, text, comma, text).parse(rest)?;
    match Output::from_fields(path, &algorithm, &hash) {
        Ok(output) => Ok((rest, output)),
        Err(kind) => fail(input, ErrorKind::Output(kind)),
    }
}

/// `[("/nix/store/….drv",["out"]),…]`
fn input_derivations<'a>(
    dir: &StoreDir,
    dynamic: bool,
    input: &'a [u8],
) -> Parsed<'a, SortedMap<StorePathCow<'a>, WantedOutputs<'a>>> {
    let depth = if dynamic { MAX_DYNAMIC_DEPTH } else { 0 };
    map(Entries::InputDerivations, input, |entry| {
        let (rest, _) = entry_start(entry)?;
        let (rest, path) = store_path(dir, rest)?;
        let (rest, (_, wanted, _)) =
            (comma, |input| wanted(dynamic, depth, input), entry_end).parse(rest)?;
        Ok((rest, (path.into(), wanted)))
    })
}

/// `["dev","out"]`, or `(["dev"],[("out",["bin"])])` at most `depth` levels deep if some input is `dynamic`.
fn wanted<'a>(dynamic: bool, depth: usize, input: &'a [u8]) -> Parsed<'a, WantedOutputs<'a>> {
    let Some(pair) = input.strip_prefix(b"(").filter(|_| dynamic) else {
        if dynamic && !input.starts_with(b"[") {
            return fail(input, ErrorKind::Expected(Expected::Wanted));
        }
        let (rest, outputs) = set(Entries::WantedOutputs, input, name)?;
        return Ok((
            rest,
            WantedOutputs {
                outputs,
                dynamic: SortedMap::new(),
            },
        ));
    };
    if depth == 0 {
        return fail(input, ErrorKind::TooDeep);
    }
    let (list, (outputs, _)) =
        (|input| set(Entries::WantedOutputs, input, name), comma).parse(pair)?;
    let (rest, dynamic) = map(Entries::WantedOutputs, list, |entry| {
        let (rest, (_, name, _, wanted, _)) = (
            entry_start,
            name,
            comma,
            |input| wanted(true, depth - 1, input),
            entry_end,
        )
            .parse(entry)?;
        Ok((rest, (name, wanted)))
    })?;
    if dynamic.is_empty() {
        // A list alone would have said the same.
        return fail(list, ErrorKind::NotDynamic);
    }
    let (rest, _) = entry_end(rest)?;
    Ok((rest, WantedOutputs { outputs, dynamic }))
}

/// `["/nix/store/…",…]`
fn input_sources<'a>(dir: &StoreDir, input: &'a [u8]) -> Parsed<'a, SortedSet<StorePathCow<'a>>> {
    set(Entries::InputSources, input, |item| {
        store_path(dir, item).map(|(rest, path)| (rest, path.into()))
    })
}

/// `["-c","echo"]`
fn arguments(input: &[u8]) -> Parsed<'_, Vec<Bytes<'_>>> {
    let mut arguments = Vec::new();
    let (rest, ()) = list(input, |item| {
        let (rest, argument) = string(item)?;
        arguments.push(argument);
        Ok((rest, ()))
    })?;
    Ok((rest, arguments))
}

/// `[("name","value"),…]`
fn environment(input: &[u8]) -> Parsed<'_, SortedMap<Bytes<'_>, Bytes<'_>>> {
    map(Entries::Environment, input, |entry| {
        let (rest, (_, name, _, value, _)) =
            (entry_start, string, comma, string, entry_end).parse(entry)?;
        Ok((rest, (name, value)))
    })
}

/// `"/nix/store/…-name"`
fn store_path<'a>(dir: &StoreDir, input: &'a [u8]) -> Parsed<'a, StorePathRef<'a>> {
    let (path, _) = token(b'"', Expected::StringStart)(input)?;
    match dir.take(path) {
        Ok((store_path, rest)) => {
            let (rest, _) = token(b'"', Expected::StringEnd)(rest)?;
            Ok((rest, store_path))
        }
        Err(error) => fail(
            &path[error.offset.min(path.len())..],
            ErrorKind::StorePath(error.kind),
        ),
    }
}

/// `[item,item]` whose items rise strictly.
fn map<'a, K: Ord, V>(
    entries: Entries,
    input: &'a [u8],
    entry: impl Fn(&'a [u8]) -> Parsed<'a, (K, V)>,
) -> Parsed<'a, SortedMap<K, V>> {
    let mut map = SortedMap::new();
    let (rest, ()) = list(input, |item| {
        let (rest, (key, value)) = entry(item)?;
        ordered(map.push(key, value), entries, item)?;
        Ok((rest, ()))
    })?;
    Ok((rest, map))
}

/// `[item,item]` whose items rise strictly.
fn set<'a, T: Ord>(
    entries: Entries,
    input: &'a [u8],
    item: impl Fn(&'a [u8]) -> Parsed<'a, T>,
) -> Parsed<'a, SortedSet<T>> {
    let mut set = SortedSet::new();
    let (rest, ()) = list(input, |start| {
        let (rest, item) = item(start)?;
        ordered(set.push(item), entries, start)?;
        Ok((rest, ()))
    })?;
    Ok((rest, set))
}

fn ordered<'a>(
    pushed: Result<(), Disorder>,
    entries: Entries,
    at: &'a [u8],
) -> Result<(), nom::Err<Fault<'a>>> {
    pushed.map_err(|disorder| {
        let kind = match disorder {
            Disorder::Duplicate => ErrorKind::Duplicate(entries),
            Disorder::Unsorted => ErrorKind::Unsorted(entries),
        };
        nom::Err::Error(Fault { at, kind })
    })
}

/// `[item,item]`
fn list<'a>(input: &'a [u8], mut item: impl FnMut(&'a [u8]) -> Parsed<'a, ()>) -> Parsed<'a, ()> {
    let (mut rest, _) = token(b'[', Expected::ListStart)(input)?;
    if let Some(rest) = rest.strip_prefix(b"]") {
        return Ok((rest, ()));
    }
    loop {
        (rest, _) = item(rest)?;
        match rest.split_first() {
            Some((b',', next)) => rest = next,
            Some((b']', next)) => return Ok((next, ())),
            _ => return fail(rest, ErrorKind::Expected(Expected::ListRest)),
        }
    }
}

fn comma(input: &[u8]) -> Parsed<'_, ()> {
    token(b',', Expected::Comma)(input)
}

fn entry_start(input: &[u8]) -> Parsed<'_, ()> {
    token(b'(', Expected::EntryStart)(input)
}

fn entry_end(input: &[u8]) -> Parsed<'_, ()> {
    token(b')', Expected::EntryEnd)(input)
}

/// One byte that has to stand there.
fn token<'a>(byte: u8, expected: Expected) -> impl Fn(&'a [u8]) -> Parsed<'a, ()> {
    move |input| match input.split_first() {
        Some((&first, rest)) if first == byte => Ok((rest, ())),
        _ => fail(input, ErrorKind::Expected(expected)),
    }
}
