//! What every page has around it.

use maud::{DOCTYPE, Markup, html};

/// A page with a title, further elements of its head, and its body.
pub fn frame(title: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                (head)
            }
            (body)
        }
    }
}
