//! What time is measured.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

#[derive(Clone, Copy)]
pub(crate) enum Clock {
    Wall,
    Processor,
}

impl Clock {
    /// The one that the environment asks for.
    pub(crate) fn chosen() -> Self {
        match std::env::var("BENCH_CLOCK").as_deref() {
            Ok("processor") => Self::Processor,
            _ => Self::Wall,
        }
    }

    fn now(self) -> Duration {
        match self {
            Self::Wall => EPOCH.elapsed(),
            Self::Processor => {
                let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
                let own = Duration::try_from(own).expect("time does not run backwards");
                own + children().expect("/proc is mounted")
            }
        }
    }
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Processor time of all children that were waited for: fields 16 and 17 of `/proc/self/stat`.
fn children() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let behind_name = &stat[stat.rfind(')')? + 2..];
    let fields: Vec<u64> = behind_name
        .split(' ')
        .skip(13)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Some(Duration::from_millis(10) * u32::try_from(fields.iter().sum::<u64>()).ok()?)
}

impl Measurement for Clock {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, start: Duration) -> Duration {
        self.now() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
