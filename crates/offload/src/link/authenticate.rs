//! Tries keys until the host lets one in.

use std::path::Path;

use russh::AgentAuthError;
use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{Signature, encoding::Encode};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use tokio::net::UnixStream;

use super::keys::{Candidate, KeyFiles, Signer};
use super::{Credentials, LinkError};

/// Tries the keys that there are, in their order.
pub(super) async fn authenticate<H: Handler>(
    handle: &mut Handle<H>,
    user: &str,
    credentials: &Credentials,
    files: KeyFiles,
) -> Result<(), LinkError> {
    let mut notes = Vec::new();
    let mut agent = None;
    let mut identities = Vec::new();
    if let Some(socket) = &credentials.agent {
        match open_agent(handle, socket).await {
            Ok((client, listed)) => {
                agent = Some(client);
                identities = listed;
            }
            Err(error) => notes.push(format!("the agent at {}: {error}", socket.display())),
        }
    }
    let (candidates, passed_over) = files.candidates(identities, credentials);
    notes.extend(passed_over);
    let mut tried = Vec::new();
    for candidate in candidates {
        if handle.is_closed() {
            notes.push("the host has hung up".to_owned());
            break;
        }
        match attempt(handle, user, &candidate, agent.as_mut()).await {
            Ok(AuthResult::Success) => return Ok(()),
            Ok(AuthResult::Failure {
                partial_success: true,
                remaining_methods,
            }) => {
                let methods: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
                let more = methods.join(" or ");
                notes.push(format!(
                    "{} is not enough: {more} is asked for",
                    candidate.name
                ));
            }
            Ok(AuthResult::Failure { .. }) => {}
            Err(reason) => notes.push(format!("{}: {reason}", candidate.name)),
        }
        tried.push(candidate.name);
    }
    let mut keys = match tried.as_slice() {
        [] => "no key to try".to_owned(),
        tried => tried.join(", "),
    };
    if !notes.is_empty() {
        keys += &format!(" ({})", notes.join("; "));
    }
    Err(LinkError::Refused {
        user: user.to_owned(),
        keys,
    })
}

type Agent = AgentClient<UnixStream>;

async fn open_agent<H: Handler>(
    handle: &Handle<H>,
    socket: &Path,
) -> Result<(Agent, Vec<AgentIdentity>), russh::keys::Error> {
    let mut agent = AgentClient::connect_uds(socket).await?;
    if let Some(binding) = handle.agent_session_binding() {
        // Keys that are only for some hosts need it; agents that know no such keys refuse it.
        let _ = agent.bind_session(binding, false).await;
    }
    let identities = agent.request_identities().await?;
    Ok((agent, identities))
}

async fn attempt<H: Handler>(
    handle: &mut Handle<H>,
    user: &str,
    candidate: &Candidate,
    agent: Option<&mut Agent>,
) -> Result<AuthResult, String> {
    let hash = match candidate.public.algorithm().is_rsa() {
        true => Some(rsa_hash(handle).await),
        false => None,
    };
    let public = candidate.public.clone();
    let certificate = candidate.certificate.clone();
    let result = match (&candidate.signer, agent, certificate) {
        (Signer::Key(key), _, None) => {
            let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
            let result = handle.authenticate_publickey(user, key).await;
            return result.map_err(|error| error.to_string());
        }
        (Signer::Key(key), _, Some(certificate)) => {
            let mut signer = KeySigner(key);
            handle
                .authenticate_certificate_with(user, certificate, hash, &mut signer)
                .await
        }
        (Signer::Agent, Some(agent), None) => {
            handle
                .authenticate_publickey_with(user, public, hash, agent)
                .await
        }
        (Signer::Agent, Some(agent), Some(certificate)) => {
            handle
                .authenticate_certificate_with(user, certificate, hash, agent)
                .await
        }
        (Signer::Agent, None, _) => return Err("there is no agent".to_owned()),
    };
    result.map_err(|error| error.to_string())
}

/// Hosts that do not say what they support are asked with SHA-512: OpenSSH has it since 7.2, and
/// has refused SHA-1 since 8.8.
async fn rsa_hash<H: Handler>(handle: &Handle<H>) -> HashAlg {
    match handle.best_supported_rsa_hash().await {
        Ok(Some(Some(hash))) => hash,
        _ => HashAlg::Sha512,
    }
}

/// Signs with a key of ours where russh has no way of its own to choose the hash: certificates.
struct KeySigner<'a>(&'a PrivateKey);

impl russh::Signer for KeySigner<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        let signature: Signature = match self.0.key_data() {
            KeypairData::Rsa(key) => (key, hash).try_sign(&to_sign),
            _ => self.0.try_sign(&to_sign),
        }
        .map_err(|_| russh::keys::Error::InvalidSignature)?;
        let encoded: Vec<u8> = encode(&signature)?;
        encode_into(&encoded, &mut to_sign)?;
        Ok(to_sign)
    }
}

fn encode(value: &impl Encode) -> Result<Vec<u8>, AgentAuthError> {
    let mut bytes = Vec::new();
    value
        .encode(&mut bytes)
        .map_err(|error| AgentAuthError::Key(error.into()))?;
    Ok(bytes)
}

fn encode_into(value: &[u8], bytes: &mut Vec<u8>) -> Result<(), AgentAuthError> {
    value
        .encode(bytes)
        .map_err(|error| AgentAuthError::Key(error.into()))
}
