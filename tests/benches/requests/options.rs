//! The command line.

use std::{env, time::Duration};

use anyhow::{Context, bail};
use tests::database::Kind;

use crate::work::Work;

pub(crate) struct Options {
    pub(crate) scale: f64,
    pub(crate) window: Duration,
    pub(crate) rounds: usize,
    pub(crate) only: Option<Kind>,
    pub(crate) only_ours: bool,
    pub(crate) no_rls: bool,
    pub(crate) growth: bool,
    work: Option<String>,
}

impl Options {
    pub(crate) fn parse() -> anyhow::Result<Self> {
        let mut options = Self {
            scale: 0.1,
            window: Duration::from_secs(3),
            rounds: 3,
            only: None,
            only_ours: false,
            no_rls: false,
            growth: false,
            work: None,
        };
        // Cargo adds `--bench`.
        let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{name} what?"));
            match name.as_str() {
                "--quick" => (options.scale, options.window) = (0.05, Duration::from_millis(800)),
                "--scale" => options.scale = value()?.parse()?,
                "--seconds" => options.window = Duration::from_secs_f64(value()?.parse()?),
                "--rounds" => options.rounds = value()?.parse()?,
                "--work" => options.work = Some(value()?),
                "--only-ours" => options.only_ours = true,
                "--no-rls" => options.no_rls = true,
                "--growth" => options.growth = true,
                "--only" => {
                    options.only = Some(match value()?.as_str() {
                        "sqlite" => Kind::Sqlite,
                        "postgres" => Kind::Postgres,
                        other => bail!("--only {other}?"),
                    });
                }
                _ => bail!("{name}?"),
            }
        }
        if let Some(work) = &options.work
            && options.works().is_empty()
        {
            bail!("--work {work}?");
        }
        Ok(options)
    }

    /// The selected work.
    pub(crate) fn works(&self) -> Vec<Work> {
        let wanted = |work: &Work| self.work.as_ref().is_none_or(|name| *name == format!("{work:?}"));
        Work::COMPARED.into_iter().filter(wanted).collect()
    }
}
