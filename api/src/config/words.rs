//! Prepares the words of the command line for the parser.

use std::ffi::{OsStr, OsString};

use clap::Command;

use crate::model::setting::parts;

/// The words in the form that the parser takes: lists without blanks, options without empty values, the command first.
pub(super) fn prepared(words: Vec<OsString>, line: &Command) -> Vec<OsString> {
    command_first(without_empty(with_lists(words, line)), line)
}

pub(super) fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

/// A list without blanks around its parts and without empty parts.
pub(super) fn whole(list: &str) -> String {
    parts(list).collect::<Vec<_>>().join(",")
}

/// Removes the blanks and the empty parts of lists. Those of the environment become options for that, because clap splits a list
/// before anything else can read it.
fn with_lists(mut words: Vec<OsString>, line: &Command) -> Vec<OsString> {
    for list in line.get_arguments().filter(|arg| arg.get_value_delimiter().is_some()) {
        let Some(flag) = list.get_long().map(|name| format!("--{name}")) else { continue };
        let assigned = format!("{flag}=");
        let (mut is_given, mut is_value) = (false, false);
        for word in &mut words {
            let text = word.to_str().unwrap_or_default();
            let (start, value) = match text.strip_prefix(&assigned) {
                Some(value) => (assigned.as_str(), Some(whole(value))),
                None => ("", is_value.then(|| whole(text))),
            };
            is_value = text == flag;
            if let Some(value) = value.filter(|_| word.to_str().is_some()) {
                is_given |= !value.is_empty();
                *word = format!("{start}{value}").into();
            }
        }
        let variable = list.get_env().and_then(std::env::var_os).and_then(|value| value.into_string().ok());
        if let Some(value) = variable.map(|value| whole(&value)).filter(|value| !is_given && !value.is_empty()) {
            words.insert(words.len().min(1), format!("{assigned}{value}").into());
        }
    }
    words
}

/// Removes options with an empty value, as a script passes for a variable that is not set.
fn without_empty(words: Vec<OsString>) -> Vec<OsString> {
    let has_no_value = |(_, value): (&str, &str)| value.trim().is_empty();
    let mut kept: Vec<OsString> = Vec::with_capacity(words.len());
    for word in words {
        let is_option = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with("--"));
        let takes_value = |word: &OsString| is_option(word) && word.to_str().is_some_and(|word| !word.contains('='));
        if is_blank(&word) && kept.last().is_some_and(takes_value) {
            kept.pop();
        } else if !(is_option(&word) && word.to_str().and_then(|word| word.split_once('=')).is_some_and(has_no_value)) {
            kept.push(word);
        }
    }
    kept
}

/// Moves the command's name to the front: options can precede it.
fn command_first(mut words: Vec<OsString>, line: &Command) -> Vec<OsString> {
    let names: Vec<String> = line.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for at in 2..words.len() {
        let is_name =
            words.get(at).and_then(|word| word.to_str()).is_some_and(|word| names.iter().any(|name| name == word));
        // Skip a value that only looks like a command.
        let before = words.get(..at).unwrap_or_default().to_vec();
        if is_name && line.clone().try_get_matches_from(before).is_ok_and(|matches| matches.subcommand_name().is_none())
        {
            let name = words.remove(at);
            words.insert(1, name);
            break;
        }
    }
    words
}
