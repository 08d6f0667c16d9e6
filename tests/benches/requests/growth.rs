//! Measures the cost of a history that is ten times longer: the service compared with itself, in alternating rounds.

use tests::{
    database::{Database, Kind},
    server::{ChildServer, Server},
    workload::Random,
};

use crate::{
    CONNECTIONS,
    contender::{Contender, Figures, Who},
    ground,
    load::Shape,
    options::Options,
    work::Work,
};

/// Few projects, since each is large. `deep`: ten times the messages and the versions of each file; `wide`: ten times
/// the messages and the files.
const SCALE: f64 = 0.02;

const WORKS: [Work; 7] = [Work::Q1, Work::Q2, Work::Q3, Work::Q4, Work::M1, Work::M2, Work::Restore];

pub(crate) async fn measure(options: &Options, kind: Kind) -> anyhow::Result<()> {
    let usual = Shape::usual(SCALE);
    let tenfold = Shape { messages: usual.messages * 10, ..usual };
    let shapes = [
        ("as usual", usual),
        ("deep", Shape { versions: usual.versions * 10, ..tenfold }),
        ("wide", Shape { files: usual.files * 10, ..tenfold }),
    ];
    let mut running = Vec::new();
    for (name, shape) in shapes {
        let database = Database::create(kind).await;
        // Migrates SQLite.
        Server::start(&database).await.stop().await;
        let ground = ground(&database, shape).await?;
        println!("\n{kind:?}, {name}: {}", ground.data.summary());
        let child = ChildServer::start(&database);
        let ours = Contender { who: Who::Ours, ground, server: Some((child.base().to_owned(), child.id())) };
        running.push((database, child, ours));
    }
    println!("      CPU ms per request (server + database)      of the usual");
    for work in WORKS {
        let mut runs = vec![Vec::new(); running.len()];
        if work == Work::Restore {
            for (_, _, ours) in &running {
                settle(ours).await?;
            }
        }
        for _ in 0..options.rounds {
            for ((_, _, ours), runs) in running.iter().zip(&mut runs) {
                runs.push(ours.run(work, options.window, CONNECTIONS).await?);
            }
        }
        let totals: Vec<f64> = runs.iter().map(|runs| Figures::median(runs).total()).collect();
        println!(
            "  {:<8} {:.3} usual, {:.3} deep, {:.3} wide      {:.2}x deep, {:.2}x wide",
            format!("{work:?}"),
            totals[0],
            totals[1],
            totals[2],
            totals[1] / totals[0],
            totals[2] / totals[0],
        );
    }
    for (database, child, _) in running {
        drop(child);
        database.remove().await;
    }
    Ok(())
}

/// Reverts the writes so far, so that each later restore changes the files of one sync.
async fn settle(ours: &Contender) -> anyhow::Result<()> {
    let mut connection = ours.connect(Work::Restore).await?;
    let data = &ours.ground.data;
    for seed in 0..8 * data.projects.len() as u64 {
        let request = data.request(Work::Restore, Who::Ours, &mut Random(seed));
        ours.ask(&mut connection, Work::Restore, &request).await?;
        data.settle(request, Who::Ours);
    }
    Ok(())
}
