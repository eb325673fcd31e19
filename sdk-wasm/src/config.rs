//! The configuration as a type of your own.

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel};
use serde::de::DeserializeOwned;

/// Reads the plugin's configuration, which is JSON; none at all is read as `{}`. For
/// `on_configure`: `None` means that it was refused, with the reason in the log and in the
/// fault that the host reports when `on_configure` then answers false.
pub fn read<T: DeserializeOwned>() -> Option<T> {
    let text = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok()?;
    match parse(&text.unwrap_or_default()) {
        Ok(config) => Some(config),
        Err(error) => {
            let _ = hostcalls::log(LogLevel::Critical, &format!("configuration: {error}"));
            None
        }
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(if text.is_empty() { b"{}" } else { text })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        limit: u32,
    }

    #[test]
    fn nothing_is_an_empty_configuration_and_errors_name_the_key() {
        assert_eq!(parse::<Config>(b"").unwrap(), Config { limit: 0 });
        assert_eq!(parse::<Config>(b"{\"limit\":3}").unwrap(), Config { limit: 3 });
        let error = parse::<Config>(b"{\"limt\":3}").unwrap_err().to_string();
        assert!(error.contains("unknown field `limt`"), "{error}");
    }
}
