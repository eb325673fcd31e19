//! Shares of requests, tolerances and sums of money: a number and its sign.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::Wrong;
use crate::error::Errors;
use crate::node::{Kind, Node};
use crate::raw::value::{Value, Written};

/// A share of requests, in percent: `99.9%`.
#[derive(Clone, Debug)]
pub struct Share(pub f64);

impl Share {
    const ALLOWED: &str = "allowed: a share from 50% to 99.999%, such as 99.9%";

    fn fits(percent: f64) -> bool {
        (50.0..=99.999).contains(&percent)
    }

    /// `99.9` and `0.999` are the same share without its sign.
    fn near(number: f64) -> Option<String> {
        let percent = if number < 1.0 { (number * 1e5).round() / 1e3 } else { number };
        Share::fits(percent).then(|| format!("{percent}%"))
    }
}

impl Value for Share {
    fn read(node: &Node, errors: &mut Errors) -> Option<Share> {
        percent(node, Share::fits, Share::near, Share::ALLOWED, errors).map(Share)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        percent_schema("99.9%")
    }
}

/// A number with the sign of a percentage. `near`: what is meant by one without it.
fn percent(
    node: &Node,
    fits: fn(f64) -> bool,
    near: fn(f64) -> Option<String>,
    allowed: &str,
    errors: &mut Errors,
) -> Option<f64> {
    let wrong = match &node.kind {
        Kind::Text(text) => match text.strip_suffix('%').map(str::parse::<f64>) {
            Some(Ok(percent)) if fits(percent) => return Some(percent),
            Some(Ok(_)) => Wrong::default(),
            _ => {
                let number = text.trim().trim_end_matches('%').trim().replace(',', ".");
                Wrong::near(number.parse().ok().and_then(near))
            }
        },
        Kind::Float(number) => Wrong::near(near(*number)),
        Kind::Int(number) => Wrong::near(near(*number as f64)),
        _ => Wrong::default(),
    };
    errors.add(&node.place, wrong.problem(node, allowed));
    None
}

fn percent_schema(example: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]+([.][0-9]+)?%$", "examples": [example] })
}

/// A difference that is none, in percent: `3%`.
#[derive(Clone, Debug)]
pub struct Tolerance(pub f64);

impl Tolerance {
    fn fits(percent: f64) -> bool {
        (0.0..=50.0).contains(&percent)
    }

    fn near(number: f64) -> Option<String> {
        Tolerance::fits(number).then(|| format!("{number}%"))
    }
}

impl Value for Tolerance {
    fn read(node: &Node, errors: &mut Errors) -> Option<Tolerance> {
        let allowed = "allowed: a percentage from 0% to 50%, such as 3%";
        percent(node, Tolerance::fits, Tolerance::near, allowed, errors).map(Tolerance)
    }
}

impl JsonSchema for Tolerance {
    fn schema_name() -> Cow<'static, str> {
        "Tolerance".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        percent_schema("3%")
    }
}

impl From<f64> for Tolerance {
    fn from(percent: f64) -> Tolerance {
        Tolerance(percent)
    }
}

impl Written for Tolerance {
    fn written(&self) -> Json {
        format!("{}%", self.0).into()
    }
}

/// A sum of money and its currency: `1200 USD`.
#[derive(Clone, Debug)]
pub struct Money(pub (f64, String));

/// What people write for a currency.
const SIGNS: [(&str, &str); 4] = [("$", "USD"), ("€", "EUR"), ("£", "GBP"), ("¥", "JPY")];

impl Money {
    fn parse(text: &str) -> Option<(f64, String)> {
        let (amount, currency) = text.split_once(' ')?;
        let amount = amount.parse().ok().filter(|amount: &f64| *amount > 0.0 && *amount <= 1e12)?;
        let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
        is_code.then(|| (amount, currency.to_owned()))
    }

    /// `$1200`, `USD 1200`, `1200usd`: what they would be here.
    fn near(text: &str) -> Option<String> {
        let mut text = text.replace(',', "");
        for (sign, code) in SIGNS {
            text = text.replace(sign, code);
        }
        let is_number = |c: &char| c.is_ascii_digit() || *c == '.';
        let amount: String = text.chars().filter(is_number).collect();
        let code: String = text.chars().filter(|c| c.is_ascii_alphabetic()).collect::<String>().to_uppercase();
        let whole = format!("{amount} {code}");
        Money::parse(&whole).map(|_| whole)
    }
}

impl Value for Money {
    fn read(node: &Node, errors: &mut Errors) -> Option<Money> {
        let wrong = match &node.kind {
            Kind::Text(text) => match Money::parse(text) {
                Some(money) => return Some(Money(money)),
                None => Wrong::near(Money::near(text)),
            },
            Kind::Int(number) => Wrong { near: Some(format!("{number} USD")), ..Wrong::why("without a currency") },
            Kind::Float(number) => Wrong { near: Some(format!("{number} USD")), ..Wrong::why("without a currency") },
            _ => Wrong::default(),
        };
        errors.add(&node.place, wrong.problem(node, "allowed: a sum and its currency such as 1200 USD"));
        None
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+([.][0-9]+)? [A-Z]{3}$",
            "examples": ["1200 USD"],
        })
    }
}
