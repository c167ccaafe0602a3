//! How the product shows itself to a customer's customers.

use serde::{Deserialize, Serialize};

use crate::{Error, network::is_host};

/// How the product shows itself: each word of it where it is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    /// The product's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    /// Where its logo is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_url: Option<String>,
    /// Where its icon is, as browsers show it in a tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon_url: Option<String>,
    /// The colour of what can be clicked, as "#1a2b3c".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_color: Option<String>,
    /// The colour of what stands out, as "#1a2b3c".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accent_color: Option<String>,
    /// Whom its mails are from, as `Acme <no-reply@acme.example>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail_from: Option<String>,
    /// Where there is help: a page, or `mailto:` an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_url: Option<String>,
    /// Where its documentation is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs_url: Option<String>,
}

impl Branding {
    /// This, with what it doesn't set as `wider` has it.
    pub fn within(self, wider: &Self) -> Self {
        let or = |own: Option<String>, wider: &Option<String>| own.or_else(|| wider.clone());
        Self {
            product_name: or(self.product_name, &wider.product_name),
            logo_url: or(self.logo_url, &wider.logo_url),
            icon_url: or(self.icon_url, &wider.icon_url),
            primary_color: or(self.primary_color, &wider.primary_color),
            accent_color: or(self.accent_color, &wider.accent_color),
            mail_from: or(self.mail_from, &wider.mail_from),
            support_url: or(self.support_url, &wider.support_url),
            docs_url: or(self.docs_url, &wider.docs_url),
        }
    }

    /// Refuses what a page can't show or shouldn't link to; each field in an error is one of `branding`.
    pub fn check(&self) -> Result<(), Error> {
        let texts = [
            check_text("product_name", self.product_name.as_deref(), 128, "a name", |name| !name.trim().is_empty()),
            check_text("logo_url", self.logo_url.as_deref(), 2_048, "an address that begins with https://", is_page),
            check_text("icon_url", self.icon_url.as_deref(), 2_048, "an address that begins with https://", is_page),
            check_text("primary_color", self.primary_color.as_deref(), 7, "a colour as \"#1a2b3c\"", is_color),
            check_text("accent_color", self.accent_color.as_deref(), 7, "a colour as \"#1a2b3c\"", is_color),
            check_text("mail_from", self.mail_from.as_deref(), 320, "as `Acme <no-reply@acme.example>`", is_sender),
            check_text("support_url", self.support_url.as_deref(), 2_048, "https:// or mailto:", |url| {
                is_page(url) || url.strip_prefix("mailto:").is_some_and(is_address)
            }),
            check_text("docs_url", self.docs_url.as_deref(), 2_048, "an address that begins with https://", is_page),
        ];
        texts.into_iter().flatten().reduce(Error::and).map_or(Ok(()), Err)
    }
}

fn check_text(
    field: &str,
    text: Option<&str>,
    most: usize,
    right: &str,
    is_right: impl Fn(&str) -> bool,
) -> Option<Error> {
    let (text, field) = (text?, format!("branding.{field}"));
    if text.len() > most {
        return Some(Error::invalid(field, "TOO_LONG", format!("must have at most {most} bytes, not {}", text.len())));
    }
    let is_right = is_right(text) && !text.chars().any(char::is_control);
    (!is_right).then(|| Error::invalid(field, "MALFORMED", format!("must be {right}")))
}

/// Only what a page may load and link to without doubt: a `javascript:` address would be somebody's script in another's page.
fn is_page(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| is_host(host.rsplit_once(':').map_or(host, |(host, _)| host)))
        && !url.contains([' ', '"', '\'', '<', '>', '\\', '`'])
}

fn is_color(text: &str) -> bool {
    text.len() == 7 && text.starts_with('#') && text.bytes().skip(1).all(|b| b.is_ascii_hexdigit())
}

fn is_sender(text: &str) -> bool {
    match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => is_address(address) && !name.contains(['<', '>', '"', ',', ';']),
        None => is_address(text),
    }
}

fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._%+-".contains(&b);
    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && name.bytes().all(plain) && is_host(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(branding: Branding) -> Vec<String> {
        branding.check().err().map_or_else(Vec::new, |error| error.violations.into_iter().map(|v| v.field).collect())
    }

    #[test]
    fn what_a_page_may_show_passes_and_nothing_else() {
        let some = |text: &str| Some(text.to_owned());
        let good = Branding {
            product_name: some("Acme Einsichten ä"),
            logo_url: some("https://cdn.acme.example:8443/logo.svg?v=2"),
            icon_url: None,
            primary_color: some("#1a2B3c"),
            accent_color: some("#000000"),
            mail_from: some("Acme <no-reply@acme.example>"),
            support_url: some("mailto:help@acme.example"),
            docs_url: some("https://acme.example"),
        };
        assert_eq!(faults(good), Vec::<String>::new());
        for url in [
            "",
            "http://acme.example",
            "javascript:alert(1)",
            "https://",
            "https://a b",
            "https://x.example/\"onload=",
            "data:image/png;base64,x",
        ] {
            assert_eq!(faults(Branding { logo_url: some(url), ..Branding::default() }), ["branding.logo_url"], "{url}");
        }
        for color in ["", "red", "#12345", "#12345g", "url(x)"] {
            assert_eq!(
                faults(Branding { primary_color: some(color), ..Branding::default() }),
                ["branding.primary_color"]
            );
        }
        let bad = Branding {
            product_name: some(" "),
            mail_from: some("Acme <a@b.example>, <c@d.example>"),
            support_url: some("mailto:nobody"),
            ..Branding::default()
        };
        assert_eq!(faults(bad), ["branding.product_name", "branding.mail_from", "branding.support_url"]);
    }
}
