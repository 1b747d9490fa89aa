//! One conversation that touches most layouts, and tells what it heard.

use store_path::{ContentAddressMethod, HashAlgorithm, StorePath};
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::client::{Client, Ticket};
use worker_protocol::export;
use worker_protocol::operation::{
    AddTempRoot, AddTextToStore, AddToStore, AddToStoreNar, BuildDerivation, EnsurePath,
    ExportPath, ImportPaths, IsValidPath, NarFromPath, Operation, QueryMissing, QueryPathInfo,
    QueryReferrers, QueryValidPaths, SetOptions,
};
use worker_protocol::wire::Encoder;
use worker_protocol::{
    BasicDerivation, BasicOutput, BuildMode, DerivedPath, Error, NarHash, PathInfo, ValidPathInfo,
    Version,
};

pub(crate) fn path(name: &str) -> StorePath {
    let hash = HashAlgorithm::Sha256.hash(name.as_bytes());
    let digest = hash.digest()[..20].try_into().expect("it is longer");
    StorePath::from_parts(digest, name).expect("a good name")
}

pub(crate) fn nar(contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    encoder
        .text("nix-archive-1")
        .text("(")
        .text("type")
        .text("regular");
    encoder.text("contents").bytes(contents).text(")");
    out
}

pub(crate) struct Conversation<R, W> {
    pub(crate) client: Client<R, W>,
    pub(crate) heard: Vec<String>,
    /// Replies that were heard, as the server half would send them.
    pub(crate) replies: Vec<Vec<u8>>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Conversation<R, W> {
    pub(crate) fn new(client: Client<R, W>) -> Conversation<R, W> {
        Conversation {
            client,
            heard: Vec::new(),
            replies: Vec::new(),
        }
    }

    async fn reply<O: Operation<Reply: std::fmt::Debug>>(
        &mut self,
        ticket: Ticket<O>,
    ) -> Result<(), Error> {
        let heard = &mut self.heard;
        let reply = self
            .client
            .reply(ticket, &mut |log| heard.push(format!("{log:?}")))
            .await;
        let survivable = reply.as_ref().err().is_none_or(Error::is_survivable);
        self.heard.push(format!("{} {reply:?}", O::NAME));
        match reply {
            Err(error) if !survivable => Err(error),
            Err(_) => Ok(()),
            Ok(reply) => {
                let mut bytes = Vec::new();
                O::encode_reply(&reply, &mut Encoder::new(&mut bytes), self.client.context());
                self.replies.push(bytes);
                Ok(())
            }
        }
    }

    async fn call<O: Operation<Reply: std::fmt::Debug>>(
        &mut self,
        operation: O,
    ) -> Result<(), Error> {
        let ticket = self.client.queue(&operation).await?;
        self.reply(ticket).await
    }

    /// Says its part to the end, unless the connection ends before.
    pub(crate) async fn run(&mut self) -> Result<(), Error> {
        self.say().await?;
        self.client.flush().await
    }

    async fn say(&mut self) -> Result<(), Error> {
        let heard = &mut self.heard;
        self.client
            .handshake(&mut |log| heard.push(format!("{log:?}")))
            .await?;
        let version = self
            .client
            .version()
            .expect("it is known after the handshake");
        self.heard.push(format!(
            "handshake {version} {:?} {:?}",
            self.client.daemon_version(),
            self.client.trusted()
        ));
        self.call(SetOptions::default()).await?;
        let set = self
            .client
            .queue(&AddTempRoot { path: path("root") })
            .await?;
        let valid = self
            .client
            .queue(&IsValidPath {
                path: path("absent"),
            })
            .await?;
        let info = self
            .client
            .queue(&QueryPathInfo {
                path: path("absent"),
            })
            .await?;
        let ensure = self
            .client
            .queue(&EnsurePath {
                path: path("absent"),
            })
            .await?;
        self.reply(set).await?;
        self.reply(valid).await?;
        self.reply(info).await?;
        self.reply(ensure).await?;
        if version.is_guix() {
            self.add_to_guix().await
        } else {
            self.add_and_build(version).await
        }
    }

    async fn add_to_guix(&mut self) -> Result<(), Error> {
        let text = AddTextToStore {
            name: "text".into(),
            contents: "hi".into(),
            references: [].into(),
        };
        self.call(text).await?;
        let add = AddToStore {
            name: "file".into(),
            method: ContentAddressMethod::Recursive,
            algorithm: HashAlgorithm::Sha256,
            references: [].into(),
            repair: false,
        };
        let mut upload = self.client.upload(&add).await?;
        upload.write(&nar(b"hello"), &mut |_| {}).await?;
        let ticket = upload.finish(&mut |_| {}).await?;
        let added = self.client.reply(ticket, &mut |_| {}).await?.path;
        self.call(QueryPathInfo {
            path: added.clone(),
        })
        .await?;
        self.call(QueryReferrers {
            path: added.clone(),
        })
        .await?;
        self.export_and_import(added.clone()).await?;
        self.call(QueryValidPaths {
            paths: [added, path("absent")].into(),
            substitute: false,
        })
        .await
    }

    /// Without a signature, so that it is refused once all of it was read.
    async fn export_and_import(&mut self, path: StorePath) -> Result<(), Error> {
        let log = &mut |_| {};
        let export = ExportPath { path, sign: false };
        let ticket = self.client.queue(&export).await?;
        let mut exported = Vec::new();
        let mut keep = |block| exported.extend::<Vec<u8>>(block);
        let reply = self.client.reply_with_data(ticket, log, &mut keep).await;
        self.heard
            .push(format!("ExportPath {reply:?}, {} bytes", exported.len()));
        reply?;
        let mut stream = Vec::new();
        export::encode_next(&mut stream, true);
        stream.extend_from_slice(&exported);
        export::encode_next(&mut stream, false);
        let imported = async {
            let mut upload = self.client.upload(&ImportPaths {}).await?;
            upload.write(&stream, log).await?;
            let ticket = upload.finish(log).await?;
            self.client.reply(ticket, log).await
        };
        let imported = imported.await;
        self.heard.push(format!("ImportPaths {imported:?}"));
        match imported {
            Err(error) if !error.is_survivable() => Err(error),
            _ => Ok(()),
        }
    }

    async fn add_and_build(&mut self, version: Version) -> Result<(), Error> {
        let nar = nar(b"hello");
        let info = PathInfo::new(NarHash::of(&nar), nar.len() as u64)
            .with_references([path("hello")])
            .with_signatures(["key:c2lnbmF0dXJl"]);
        let added = ValidPathInfo {
            path: path("hello"),
            info,
        };
        let add = AddToStoreNar {
            path: added.clone(),
            repair: false,
            dont_check_signatures: true,
        };
        let mut upload = self.client.upload(&add).await?;
        upload.write(&nar, &mut |_| {}).await?;
        let ticket = upload.finish(&mut |_| {}).await?;
        let info = self
            .client
            .queue(&QueryPathInfo {
                path: added.path.clone(),
            })
            .await?;
        let fetch = self
            .client
            .queue(&NarFromPath {
                path: added.path.clone(),
            })
            .await?;
        self.reply(ticket).await?;
        self.reply(info).await?;
        self.reply(fetch).await?;
        let mut fetched = Vec::new();
        while fetched.len() < nar.len() {
            let chunk = self.client.raw_chunk().await?;
            let count = chunk.len().min(nar.len() - fetched.len());
            fetched.extend_from_slice(&chunk[..count]);
            self.client.consume(count);
        }
        self.heard
            .push(format!("archive, as it was sent: {}", fetched == nar));
        if version.has_query_missing() {
            self.call(QueryMissing {
                targets: vec![DerivedPath::Opaque(path("absent"))],
            })
            .await?;
        }
        self.build("good", "echo a line; echo hi > $out").await?;
        self.build("bad", "echo another; exit 3").await?;
        self.call(IsValidPath { path: added.path }).await
    }

    async fn build(&mut self, name: &str, script: &str) -> Result<(), Error> {
        let out = self.client.context().store_dir.print(&path(name));
        let output = BasicOutput {
            path: out.as_str().into(),
            ..BasicOutput::default()
        };
        let derivation = BasicDerivation {
            outputs: [("out".into(), output)].into(),
            input_sources: [path("hello")].into(),
            platform: "x86_64-linux".into(),
            builder: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: [("out".into(), out.into())].into(),
        };
        let path = path(&format!("{name}.drv"));
        self.call(BuildDerivation {
            path,
            derivation,
            mode: BuildMode::Normal,
        })
        .await
    }
}
