//! How the product shows itself to a customer's customers.

use serde::{Deserialize, Serialize};

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
}
