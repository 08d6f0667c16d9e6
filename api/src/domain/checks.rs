//! Checks of values from callers against the limits.

use crate::model::error::{Error, Result};
use crate::model::json::Json;
use crate::model::limits::Limits;

/// Checks that a project has room for one more object.
pub(super) fn check_room(count: i64, max: usize, field: &'static str, what: &str, setting: &str) -> Result<()> {
    if usize::try_from(count).unwrap_or(usize::MAX) < max {
        return Ok(());
    }
    Err(Error::conflict(field, format!("The project has {max} {what}, the limit of {setting}.")))
}

/// Checks a text from a caller against the limit on texts.
///
/// # Errors
/// `BadInput` for a text with NUL; `PayloadTooLarge`.
pub fn check_text(limits: &Limits, field: &str, text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::bad_input(field, "A text cannot contain the character NUL."));
    }
    if text.len() > limits.max_text_bytes {
        let (size, max) = (text.len(), limits.max_text_bytes);
        return Err(Error::too_large(field, format!("`{field}` has {size} bytes; --max-text-bytes allows {max}.")));
    }
    Ok(())
}

/// As [`check_text`], for an optional text.
pub(super) fn check_optional_text(limits: &Limits, field: &str, text: Option<impl AsRef<str>>) -> Result<()> {
    text.map_or(Ok(()), |text| check_text(limits, field, text.as_ref()))
}

/// Checks a name, which must not be empty.
pub(super) fn check_name(limits: &Limits, field: &str, name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::bad_input(field, "This cannot be empty."));
    }
    check_title(limits, field, name)
}

/// Checks a title, which can be empty.
pub(super) fn check_title(limits: &Limits, field: &str, title: &str) -> Result<()> {
    check_text(limits, field, title)?;
    let (size, max) = (title.len(), limits.max_name_bytes);
    if size > max {
        return Err(Error::too_large(field, format!("`{field}` has {size} bytes; --max-name-bytes allows {max}.")));
    }
    Ok(())
}

/// Checks that a JSON value can be stored, and the limit on texts.
pub(super) fn check_json(limits: &Limits, field: &str, value: Option<&Json>) -> Result<()> {
    value.map_or(Ok(()), |value| match value.flaw() {
        Some(why) => Err(Error::bad_input(field, why)),
        None => check_text(limits, field, value.as_str()),
    })
}
