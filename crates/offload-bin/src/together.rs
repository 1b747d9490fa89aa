//! All machines at a time, their answers in the order of the list.

use std::future::Future;
use std::rc::Rc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

/// Machines that are asked at a time: each takes a connection, and the more a host opens at once the
/// slower each becomes.
const AT_A_TIME: usize = 32;

/// Waits for one answer.
///
/// # Errors
/// When the runtime cannot be started.
pub(crate) fn wait_for<A>(answer: impl Future<Output = A>) -> Result<A, String> {
    Ok(runtime()?.block_on(answer))
}

fn runtime() -> Result<Runtime, String> {
    let builder = &mut Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| format!("failed to start: {error}"))
}

/// Asks each of `machines`, and hands every answer to `hear` as soon as those before it are there.
///
/// # Errors
/// When the runtime cannot be started.
pub(crate) fn ask_each<M: 'static, A: 'static, F>(
    machines: impl IntoIterator<Item = M>,
    ask: impl Fn(M) -> F,
    mut hear: impl FnMut(A),
) -> Result<(), String>
where
    F: Future<Output = A> + 'static,
{
    let runtime = runtime()?;
    let places = Rc::new(Semaphore::new(AT_A_TIME));
    LocalSet::new().block_on(&runtime, async {
        let asked: Vec<_> = machines
            .into_iter()
            .map(|machine| {
                let (places, answer) = (places.clone(), ask(machine));
                tokio::task::spawn_local(async move {
                    let _place = places.acquire().await.expect("it is never closed");
                    answer.await
                })
            })
            .collect();
        for answer in asked {
            match answer.await {
                Ok(answer) => hear(answer),
                Err(error) => return Err(format!("failed to ask a machine: {error}")),
            }
        }
        Ok(())
    })?;
    // A name look-up may still wait for an answer; the process does not.
    runtime.shutdown_background();
    Ok(())
}
