//! Which inputs a machine lacks.

use std::collections::BTreeSet;

use store_path::StorePath;
use worker_protocol::client::Ticket;
use worker_protocol::operation::{AddTempRoot, QueryValidPaths};
use worker_protocol::serve;

use super::{
    Conversation, MAX_TALK, MAX_TALK_OF_SUBSTITUTION, Remote, Worker, queue, reply, reply_behind,
};
use crate::failure::{Failure, RemoteFailure};
use crate::log::Log;

const ACTION: &str = "ask which inputs are missing";

/// Paths that a build needs, or is expected to need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The inputs.
    pub inputs: BTreeSet<StorePath>,
    /// Whether the machine may substitute those that it lacks.
    pub use_substitutes: bool,
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
    match question.use_substitutes {
        true => MAX_TALK_OF_SUBSTITUTION,
        false => MAX_TALK,
    }
}

enum Claims {
    Worker {
        roots: Vec<Ticket<AddTempRoot>>,
        valid: Ticket<QueryValidPaths>,
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
        if let Some(asked) = self.asked.take() {
            open.inputs.retain(|path| !asked.inputs.contains(path));
            let valid = self.answer(asked, log).await?;
            missing.retain(|path| !valid.contains(path));
        }
        let asked = match &mut self.conversation {
            Conversation::Worker(client) => ask(client, &open).await?,
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
            (Conversation::Worker(client), Claims::Worker { roots, valid }) => {
                for root in roots {
                    let rooted = reply(client, root, log).await;
                    rooted.map_err(|error| error.during(ACTION))?;
                }
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

/// Sends the question, if there is anything to ask.
pub(super) async fn ask(
    client: &mut Worker,
    question: &Question,
) -> Result<Option<Asked>, Failure> {
    if question.inputs.is_empty() {
        return Ok(None);
    }
    let mut roots = Vec::with_capacity(question.inputs.len());
    for path in &question.inputs {
        let root = queue(client, &AddTempRoot { path: path.clone() }).await;
        roots.push(root.map_err(|error| error.during(ACTION))?);
    }
    let query = QueryValidPaths {
        paths: question.inputs.clone(),
        substitute: question.use_substitutes,
    };
    let valid = queue(client, &query).await;
    let valid = valid.map_err(|error| error.during(ACTION))?;
    let answer = client.answer;
    tokio::time::timeout(answer, client.flush())
        .await
        .map_err(|_| RemoteFailure::Silent(answer))
        .and_then(|sent| Ok(sent?))
        .map_err(|error| error.during(ACTION))?;
    Ok(Some(Asked {
        inputs: question.inputs.clone(),
        claims: Claims::Worker { roots, valid },
        talk: talk_about(question),
    }))
}
