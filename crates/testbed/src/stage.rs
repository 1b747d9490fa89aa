//! A build that is held at one of its stages, so that something can happen to it just then.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{Direction, Host, Link};

/// More than it takes to connect and to ask, in bytes; less than the first piece of an input.
const ACCEPTED: u64 = 16 << 10;

/// In the middle of an input, and of an output, in bytes.
const HALF_WAY: u64 = Stage::INPUT / 2;

/// Where the builder says that it is at it.
const BUILDING: &str = "/tmp/building";

/// The builder goes on once that is gone.
pub(crate) const HOLD: &str = "/tmp/hold";

/// Pause between two looks at how far a build is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where a build is that [`Stage::script`] makes, of an input of [`Stage::INPUT`] bytes, on a builder behind a [`Link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not begun.
    BeforeConnect,
    /// Accepted; of the input no more than the beginning has arrived.
    Accepted,
    /// Half of the input has arrived on the builder.
    Upload,
    /// The builder is at it.
    Build,
    /// Part of the output has come back.
    Download,
}

impl Stage {
    /// How many bytes the input is to have, of a kind that no compression makes smaller. The output has twice as many.
    pub const INPUT: u64 = 8 << 20;

    /// What the builder's shell is to do, with the file `input`: it says where it is, and can be held there.
    pub fn script(input: &str) -> String {
        format!(
            "mkdir $out; : >{BUILDING}; while [ -e {HOLD} ]; do sleep 0.05; done; \
             cat {input} >$out/one; cp $out/one $out/two"
        )
    }

    /// Runs `build`, and lets `fault` happen to its builder once it is at this stage, or before it begins.
    ///
    /// # Panics
    /// If the build ends before it is at this stage, or is not there within `limit`; or as `build` does.
    pub fn strike<T: Send + std::fmt::Debug>(
        self,
        builder: &mut Host,
        link: &Link,
        limit: Duration,
        build: impl FnOnce() -> T + Send,
        fault: impl FnOnce(&mut Host, &Link),
    ) -> T {
        link.reset();
        // An earlier build may have left it.
        std::fs::remove_file(builder.outside(BUILDING)).ok();
        if self == Stage::BeforeConnect {
            fault(builder, link);
            return build();
        }
        self.hold(builder, link);
        thread::scope(|scope| {
            let client = scope.spawn(build);
            let reached = self.is_reached(builder, link, limit, || client.is_finished());
            if reached {
                fault(builder, link);
            } else {
                // What waits for us would wait for ever.
                release(builder, link);
            }
            let built = client.join();
            let built = built.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert!(reached, "{self:?} is not reached: {built:?}");
            built
        })
    }

    /// Lets no build behind the link go farther.
    fn hold(self, builder: &Host, link: &Link) {
        match self {
            Stage::BeforeConnect => {}
            Stage::Accepted => link.hold_after(Direction::ToBuilder, ACCEPTED),
            Stage::Upload => link.hold_after(Direction::ToBuilder, HALF_WAY),
            Stage::Build => builder.write_file(HOLD, "").expect("the file is written"),
            Stage::Download => link.hold_after(Direction::FromBuilder, HALF_WAY),
        }
    }

    /// Waits until a build is there, unless it is over before.
    fn is_reached(
        self,
        builder: &Host,
        link: &Link,
        limit: Duration,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let reached = match self {
                Stage::BeforeConnect => true,
                Stage::Accepted => link.wait_for(Direction::ToBuilder, ACCEPTED, LOOK_EVERY),
                Stage::Upload => link.wait_for(Direction::ToBuilder, HALF_WAY, LOOK_EVERY),
                Stage::Download => link.wait_for(Direction::FromBuilder, HALF_WAY, LOOK_EVERY),
                Stage::Build => {
                    thread::sleep(LOOK_EVERY);
                    builder.outside(BUILDING).exists()
                }
            };
            if reached || is_over() || Instant::now() > deadline {
                return reached;
            }
        }
    }
}

/// Holds nothing any more.
pub(crate) fn release(builder: &Host, link: &Link) {
    // Most of the time it is not there.
    std::fs::remove_file(builder.outside(HOLD)).ok();
    link.reset();
}
