//! One conversation in the serve protocol that touches most layouts, and tells what it heard.

use store_path::{ContentAddress, ContentAddressMethod, StoreDir, StorePath};
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::serve::{
    AddToStoreNar, BuildDerivation, BuildSettings, Client, Command, DumpStorePath, QueryClosure,
    QueryPathInfos, QueryValidPaths, Ticket,
};
use worker_protocol::{BasicDerivation, BasicOutput, Error, NarHash, PathInfo, ValidPathInfo};

use crate::conversation::{nar, path};

pub(crate) struct ServeConversation<R, W> {
    pub(crate) client: Client<R, W>,
    pub(crate) heard: Vec<String>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> ServeConversation<R, W> {
    pub(crate) fn new(client: Client<R, W>) -> ServeConversation<R, W> {
        let heard = Vec::new();
        ServeConversation { client, heard }
    }

    async fn reply<C: Command<Reply: std::fmt::Debug>>(
        &mut self,
        ticket: Ticket<C>,
    ) -> Result<(), Error> {
        let reply = self.client.reply(ticket).await?;
        self.heard.push(format!("{} {reply:?}", C::NAME));
        Ok(())
    }

    async fn call<C: Command<Reply: std::fmt::Debug>>(&mut self, command: C) -> Result<(), Error> {
        let ticket = self.client.queue(&command).await?;
        self.reply(ticket).await
    }

    fn store_dir(&self) -> StoreDir {
        self.client.context().store_dir.clone()
    }

    /// Says its part to the end, unless the connection ends before. All but the builds leaves together, before the
    /// server has said its version.
    pub(crate) async fn run(&mut self) -> Result<(), Error> {
        let nar = nar(b"hello");
        let hello = content_addressed(&self.store_dir(), &nar);
        let both = || [hello.path.clone(), path("absent")].into();
        let add = AddToStoreNar {
            path: hello.clone(),
        };
        let mut upload = self.client.upload(&add).await?;
        upload.write(&nar).await?;
        let added = upload.finish()?;
        let valid = QueryValidPaths {
            lock: true,
            substitute: false,
            paths: both(),
        };
        let valid = self.client.queue(&valid).await?;
        let infos = QueryPathInfos { paths: both() };
        let infos = self.client.queue(&infos).await?;
        let dump = DumpStorePath {
            path: hello.path.clone(),
        };
        let dump = self.client.queue(&dump).await?;
        let closure = QueryClosure {
            include_outputs: false,
            paths: [hello.path.clone()].into(),
        };
        let closure = self.client.queue(&closure).await?;
        self.reply(added).await?;
        let version = self.client.version().expect("a reply was read");
        self.heard.push(format!("version {version:?}"));
        self.reply(valid).await?;
        self.reply(infos).await?;
        self.reply(dump).await?;
        self.fetch(&nar).await?;
        self.reply(closure).await?;
        self.build("served", "echo a line; echo hi > $out", &hello.path)
            .await?;
        self.build("lost", "echo another; exit 3", &hello.path)
            .await?;
        let paths = both();
        self.call(QueryPathInfos { paths }).await?;
        self.client.flush().await
    }

    async fn fetch(&mut self, nar: &[u8]) -> Result<(), Error> {
        let mut fetched = Vec::new();
        while fetched.len() < nar.len() {
            let chunk = self.client.raw_chunk().await?;
            let count = chunk.len().min(nar.len() - fetched.len());
            fetched.extend_from_slice(&chunk[..count]);
            self.client.consume(count);
        }
        let same = fetched == nar;
        self.heard.push(format!("archive, as it was sent: {same}"));
        Ok(())
    }

    async fn build(&mut self, name: &str, script: &str, input: &StorePath) -> Result<(), Error> {
        let out = self.store_dir().print(&path(name));
        let output = BasicOutput {
            path: out.as_str().into(),
            ..BasicOutput::default()
        };
        let derivation = BasicDerivation {
            outputs: [("out".into(), output)].into(),
            input_sources: [input.clone()].into(),
            platform: "x86_64-linux".into(),
            builder: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: [("out".into(), out.into())].into(),
        };
        self.call(BuildDerivation {
            path: path(&format!("{name}.drv")),
            derivation,
            settings: BuildSettings::default(),
        })
        .await
    }
}

fn content_addressed(store_dir: &StoreDir, nar: &[u8]) -> ValidPathInfo {
    let info = PathInfo::new(NarHash::of(nar), nar.len() as u64);
    let (method, hash) = (ContentAddressMethod::Recursive, info.nar_hash.hash());
    let address = ContentAddress { method, hash };
    let path = store_dir.make_fixed_output_path("hello", &address);
    ValidPathInfo {
        path: path.expect("a good name"),
        info: info.with_content_address(address),
    }
}
