//! Which inputs a machine lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use store_path::StorePath;
use worker_protocol::Dialect;
use worker_protocol::client::Ticket;
use worker_protocol::operation::{AddTempRoot, QueryValidPaths, SetOptions};
use worker_protocol::serve;
use worker_protocol::wire::Text;

use super::{
    Conversation, MAX_TALK, MAX_TALK_OF_SUBSTITUTION, Remote, Worker, queue, reply, reply_behind,
};
use crate::failure::{Failure, RemoteFailure};
use crate::job::{BuildOptions, Job};
use crate::log::Log;

const ACTION: &str = "ask which inputs are missing";

/// Paths that a build needs, or is expected to need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The inputs.
    pub inputs: BTreeSet<StorePath>,
    /// What is said along with it.
    pub terms: Terms,
}

/// What a machine is told when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terms {
    /// A Nix daemon is to protect all inputs from its garbage collector.
    Nix {
        /// Whether the machine may substitute those that it lacks.
        use_substitutes: bool,
    },
    /// A guix-daemon is told how it is to build.
    Guix {
        /// The `.drv` file, which is protected from its garbage collector.
        derivation: StorePath,
        /// Holds for the rest of the conversation.
        options: BuildOptions,
    },
}

impl Default for Terms {
    fn default() -> Self {
        Terms::Nix {
            use_substitutes: false,
        }
    }
}

impl Question {
    /// What is asked for `job`.
    #[must_use]
    pub fn about(job: &Job, dialect: Dialect) -> Self {
        let mut inputs = job.inputs.clone();
        let terms = match dialect {
            Dialect::Nix => Terms::Nix {
                use_substitutes: job.options.use_substitutes,
            },
            Dialect::Guix => {
                inputs.insert(job.path.clone());
                Terms::Guix {
                    derivation: job.path.clone(),
                    options: job.options,
                }
            }
        };
        Question { inputs, terms }
    }

    /// Whether the machine may substitute inputs before it answers.
    pub(super) fn use_substitutes(&self) -> bool {
        matches!(
            self.terms,
            Terms::Nix {
                use_substitutes: true
            }
        )
    }
}

/// A question that was asked, and the claims to its answer.
pub(crate) struct Asked {
    inputs: BTreeSet<StorePath>,
    claims: Claims,
    /// How many bytes may be said before the answer.
    talk: u64,
}

/// What may be said before the answer to `question`.
fn talk_about(question: &Question) -> u64 {
    match question.use_substitutes() {
        true => MAX_TALK_OF_SUBSTITUTION,
        false => MAX_TALK,
    }
}

enum Claims {
    Worker {
        options: Option<Ticket<SetOptions>>,
        roots: Vec<Ticket<AddTempRoot>>,
        valid: Option<Ticket<QueryValidPaths>>,
    },
    Serve(Ticket<serve::QueryValidPaths>),
}

impl Remote {
    /// Protects `inputs` on the machine from its garbage collector for the length of the
    /// conversation, and asks which of them it lacks. What was asked when the conversation began is
    /// not asked again; otherwise one round trip.
    ///
    /// # Errors
    /// When the daemon fails or is silent.
    pub async fn missing(
        &mut self,
        question: &Question,
        log: &mut Log,
    ) -> Result<BTreeSet<StorePath>, Failure> {
        let mut missing = question.inputs.clone();
        let mut open = question.clone();
        let asked = self.asked.take();
        let told = asked.is_some();
        if let Some(asked) = asked {
            open.inputs.retain(|path| !asked.inputs.contains(path));
            let valid = self.answer(asked, log).await?;
            missing.retain(|path| !valid.contains(path));
        }
        let asked = match &mut self.conversation {
            Conversation::Worker(client) => ask(client, &open, told).await?,
            Conversation::Serve(serve) => serve.ask(&open).await?,
        };
        if let Some(asked) = asked {
            let valid = self.answer(asked, log).await?;
            missing.retain(|path| !valid.contains(path));
        }
        Ok(missing)
    }

    async fn answer(
        &mut self,
        asked: Asked,
        log: &mut Log,
    ) -> Result<BTreeSet<StorePath>, Failure> {
        match (&mut self.conversation, asked.claims) {
            (
                Conversation::Worker(client),
                Claims::Worker {
                    options,
                    roots,
                    valid,
                },
            ) => {
                if let Some(options) = options {
                    let set = reply(client, options, log).await;
                    set.map_err(|error| error.during("set the machine's options"))?;
                }
                for root in roots {
                    let rooted = reply(client, root, log).await;
                    rooted.map_err(|error| error.during(ACTION))?;
                }
                let Some(valid) = valid else {
                    return Ok(BTreeSet::new());
                };
                let valid = reply_behind(client, valid, asked.talk, log).await;
                valid.map_err(|error| error.during(ACTION))
            }
            (Conversation::Serve(serve), Claims::Serve(valid)) => {
                let valid = serve.reply_behind(valid, asked.talk, log).await;
                valid.map_err(|error| error.during(ACTION))
            }
            _ => unreachable!("a conversation has one protocol"),
        }
    }
}

impl Asked {
    pub(super) fn by_serve(question: &Question, valid: Ticket<serve::QueryValidPaths>) -> Self {
        Asked {
            inputs: question.inputs.clone(),
            claims: Claims::Serve(valid),
            talk: talk_about(question),
        }
    }
}

/// Sends the question, if there is anything to ask or to tell. `told` is whether the machine has heard the
/// terms in this conversation.
pub(super) async fn ask(
    client: &mut Worker,
    question: &Question,
    told: bool,
) -> Result<Option<Asked>, Failure> {
    let failed = |error: RemoteFailure| error.during(ACTION);
    let mut options = None;
    let mut rooted = BTreeSet::new();
    match &question.terms {
        Terms::Nix { .. } => rooted.extend(&question.inputs),
        Terms::Guix { .. } if told => {}
        Terms::Guix {
            derivation,
            options: terms,
        } => {
            let request = guix_options(*terms, client.may_hand_on);
            options = Some(queue(client, &request).await.map_err(failed)?);
            rooted.insert(derivation);
        }
    }
    if question.inputs.is_empty() && options.is_none() {
        return Ok(None);
    }
    let mut roots = Vec::with_capacity(rooted.len());
    for path in rooted {
        let root = queue(client, &AddTempRoot { path: path.clone() }).await;
        roots.push(root.map_err(failed)?);
    }
    let mut valid = None;
    if !question.inputs.is_empty() {
        let query = QueryValidPaths {
            paths: question.inputs.clone(),
            substitute: question.use_substitutes(),
        };
        valid = Some(queue(client, &query).await.map_err(failed)?);
    }
    let answer = client.answer;
    tokio::time::timeout(answer, client.flush())
        .await
        .map_err(|_| RemoteFailure::Silent(answer))
        .and_then(|sent| Ok(sent?))
        .map_err(failed)?;
    Ok(Some(Asked {
        inputs: question.inputs.clone(),
        claims: Claims::Worker {
            options,
            roots,
            valid,
        },
        talk: talk_about(question),
    }))
}

/// How a guix-daemon is told how to build.
fn guix_options(options: BuildOptions, may_hand_on: bool) -> SetOptions {
    let seconds = |bound: Option<Duration>| bound.map_or(0, |bound| bound.as_secs());
    let pair = |name: &str, value: u64| (Text::from(name), Text::from(value.to_string()));
    let settings = BTreeMap::from([
        pair("build-max-silent-time", seconds(options.silence)),
        pair("build-timeout", seconds(options.time)),
    ]);
    let mut request = SetOptions::default();
    request.verbosity = 0;
    request.max_silent_time = seconds(options.silence);
    request.use_build_hook = may_hand_on;
    request.print_build_trace = options.trace;
    request.use_substitutes = options.use_substitutes;
    request.settings = settings;
    request
}
