//! The database traffic of a request: round trips, statements and bytes, counted one request at a time.

use std::time::Duration;

use tests::{
    server::{ChildServer, Locks, Server},
    workload::Random,
};

use crate::{
    contender::{Contender, Ground, Who},
    node::NodeServer,
    proxy::{Counts, Proxy},
    work::Work,
};

/// How many requests of each work are counted, after as many that are not. The result is their median.
const COUNTED: usize = 9;

const AFTERWARDS: Duration = Duration::from_millis(10);

/// The counts of a request until its response, and after it (notifications), by contender and work.
pub(crate) type Trips = Vec<(Who, Work, [Counts; 2])>;

/// Counts through a proxy in front of PostgreSQL, with separate servers.
pub(crate) async fn count(ground: &Ground, node: Option<&std::path::Path>, works: &[Work]) -> anyhow::Result<Trips> {
    let mut trips = Vec::new();
    let proxy = Proxy::start(&ground.url).await?;
    let limit = Ground { url: proxy.url().to_owned(), ..ground.clone() };
    let limit = Contender { who: Who::Limit, ground: limit, server: None };
    for work in works {
        trips.push((Who::Limit, *work, median(&limit, *work, &|| proxy.counts()).await?));
    }
    for who in [Who::Node, Who::PostGraphile] {
        let Some(node) = node else { continue };
        let server = NodeServer::start(node, who, proxy.url())?;
        let contender = Contender { who, ground: ground.clone(), server: Some(server.server()) };
        for work in works {
            trips.push((who, *work, median(&contender, *work, &|| proxy.counts()).await?));
        }
    }
    let child = ChildServer::start_behind(proxy.url(), Locks::Both);
    let ours =
        Contender { who: Who::Ours, ground: ground.clone(), server: Some((child.base().to_owned(), child.id())) };
    for work in works {
        trips.push((Who::Ours, *work, median(&ours, *work, &|| proxy.counts()).await?));
    }
    Ok(trips)
}

/// Counts the statements of a server in this process.
pub(crate) async fn count_statements(ground: &Ground, server: &Server, works: &[Work]) -> anyhow::Result<Trips> {
    let base = format!("http://{}", server.address());
    let ours = Contender { who: Who::Ours, ground: ground.clone(), server: Some((base, std::process::id())) };
    let counts = || Counts { statements: server.statements(), ..Counts::default() };
    let mut trips = Vec::new();
    for work in works {
        trips.push((Who::Ours, *work, median(&ours, *work, &counts).await?));
    }
    Ok(trips)
}

async fn median(contender: &Contender, work: Work, counts: &dyn Fn() -> Counts) -> anyhow::Result<[Counts; 2]> {
    let mut connection = contender.connect(work).await?;
    let mut all = Vec::new();
    for counted in 0..2 * COUNTED {
        // The same users twice, so that the server already knows them.
        let mut random = Random((counted % COUNTED) as u64);
        let request = contender.ground.data.request(work, contender.who, &mut random);
        let before = counts();
        contender.ask(&mut connection, work, &request).await?;
        let answered = counts();
        tokio::time::sleep(AFTERWARDS).await;
        if counted >= COUNTED {
            all.push([answered.since(before), counts().since(answered)]);
        }
        contender.ground.data.settle(request, contender.who);
    }
    Ok([0, 1].map(|when| {
        let of = |count: fn(&Counts) -> u64| {
            let mut counts: Vec<u64> = all.iter().map(|counts| count(&counts[when])).collect();
            counts.sort_unstable();
            counts[COUNTED / 2]
        };
        Counts { trips: of(|c| c.trips), statements: of(|c| c.statements), bytes: of(|c| c.bytes) }
    }))
}
