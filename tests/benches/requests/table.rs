//! Prints the figures.

use crate::{
    contender::{Figures, Who},
    proxy::Counts,
    trips::Trips,
    work::Work,
};

/// The figures of a work, by system.
pub(crate) type Row = Vec<(Who, Figures)>;

pub(crate) fn head() {
    println!(
        "                     CPU ms a request                                           ms                       to the database       bytes\n\
         \x20                    server database  total           requests/s          p50    p99          trips statements   bytes of answer"
    );
}

/// The base of the ratios: the hand-written server, or the limit without it.
fn base(row: &Row) -> Option<&(Who, Figures)> {
    row.iter().find(|(who, _)| *who == Who::Node).or_else(|| row.first())
}

/// Prints a line for each system, with the ratios to the base.
pub(crate) fn print(work: Work, row: &Row, trips: &Trips) {
    let Some((_, base)) = base(row) else { return };
    for (index, (who, figures)) in row.iter().enumerate() {
        let name = if index == 0 { format!("{work:?}") } else { String::new() };
        let counts = trips.iter().find(|(other, of, _)| other == who && *of == work).map(|(_, _, counts)| counts);
        let counts = counts.map_or_else(String::new, |[until, after]| {
            let with = |count: fn(&Counts) -> u64| match (count(until), count(after)) {
                (0, 0) => "-".to_owned(),
                (until, 0) => until.to_string(),
                (until, after) => format!("{until}+{after}"),
            };
            let [trips, statements, bytes] = [with(|c| c.trips), with(|c| c.statements), with(|c| c.bytes)];
            format!("{trips:>6} {statements:>9} {bytes:>10}")
        });
        println!(
            "  {name:<3} {:<13} {:>7.3} {:>8.3} {:>6.3} {:>6.2}x {:>9.0} {:>6.2}x {:>9.1} {:>6.1} {:>6.2}x {counts:<27} {:>9.0}",
            who.name(),
            figures.server,
            figures.database,
            figures.total(),
            figures.total() / base.total(),
            figures.rate,
            figures.rate / base.rate,
            figures.p50,
            figures.p99,
            figures.p99 / base.p99,
            figures.bytes,
        );
    }
}

/// Prints the ratio of the service to the hand-written server for each work.
pub(crate) fn verdict(rows: &[(Work, Row)]) {
    let of = |row: &Row, who: Who| row.iter().find(|(other, _)| *other == who).map(|(_, figures)| *figures);
    for (what, figure) in [
        ("CPU", Figures::total as fn(&Figures) -> f64),
        ("requests/s", |figures| figures.rate),
        ("p99", |figures| figures.p99),
    ] {
        let ratios = rows.iter().filter_map(|(work, row)| {
            let ratio = figure(&of(row, Who::Ours)?) / figure(&of(row, Who::Node)?);
            Some(format!("{work:?} {ratio:.2}"))
        });
        let ratios: Vec<_> = ratios.collect();
        if !ratios.is_empty() {
            println!("  ours / Node, {what}: {}", ratios.join(", "));
        }
    }
}
