//! Rows as columns for people.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// By so many first rows the widths are chosen; later ones stand in them.
const MEASURED: usize = 1_000;
/// No column is made narrower than this to fit a terminal.
const NARROWEST: usize = 8;

/// A table that is written as its rows come.
pub(in crate::client) struct Table {
    names: Vec<String>,
    /// Numbers stand to the right.
    is_number: Vec<bool>,
    /// Where the lines must end; none if they need not.
    room: Option<usize>,
    widths: Option<Vec<usize>>,
    waiting: Vec<Vec<String>>,
}

impl Table {
    pub(in crate::client) fn new(names: Vec<String>, is_number: Vec<bool>, is_terminal: bool) -> Self {
        let room = is_terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
        Self::with(names, is_number, room.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0))
    }

    fn with(names: Vec<String>, is_number: Vec<bool>, room: Option<usize>) -> Self {
        Self { names, is_number, room, widths: None, waiting: Vec::new() }
    }

    pub(in crate::client) fn row(&mut self, cells: Vec<String>, out: &mut impl Write) -> io::Result<()> {
        match &self.widths {
            Some(widths) => self.line(widths, &cells, out)?,
            None => self.waiting.push(cells),
        }
        if self.widths.is_none() && self.waiting.len() == MEASURED { self.begin(out) } else { Ok(()) }
    }

    pub(in crate::client) fn end(mut self, out: &mut impl Write) -> io::Result<()> {
        if self.widths.is_none() { self.begin(out) } else { Ok(()) }
    }

    fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let widest = |i: usize| waiting.iter().map(|cells| cells[i].width()).max().unwrap_or(0);
        let wanted = self.names.iter().enumerate().map(|(i, name)| name.width().max(widest(i))).collect();
        let widths = fit(wanted, self.room);
        self.line(&widths, &self.names, out)?;
        let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
        self.line(&widths, &rule, out)?;
        waiting.iter().try_for_each(|cells| self.line(&widths, cells, out))?;
        self.widths = Some(widths);
        Ok(())
    }

    fn line(&self, widths: &[usize], cells: &[String], out: &mut impl Write) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, width), is_number) in cells.iter().zip(widths).zip(&self.is_number) {
            let cell = if self.room.is_some() { cut(cell, *width) } else { cell.clone() };
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            line += if line.is_empty() { "" } else { "  " };
            line += &if *is_number { pad + &cell } else { cell + &pad };
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// The widths, the widest made narrower until the line has room.
fn fit(mut widths: Vec<usize>, room: Option<usize>) -> Vec<usize> {
    let Some(room) = room else { return widths };
    let gaps = 2 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => break,
        }
    }
    widths
}

/// As much of the text as stands in the width.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let taken = c.width().unwrap_or(0);
        let fits = taken <= room;
        room -= if fits { taken } else { room };
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(room: Option<usize>) -> String {
        let mut table = Table::with(["what", "n"].map(str::to_owned).into(), vec![false, true], room);
        let mut out = Vec::new();
        for cells in [["a", "5"], ["something long", "12.5"]] {
            table.row(cells.map(str::to_owned).into(), &mut out).unwrap();
        }
        table.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_to_the_right_and_lines_fit() {
        assert_eq!(
            written(None),
            "what               n\n--------------  ----\na                  5\nsomething long  12.5\n"
        );
        assert_eq!(written(Some(16)), "what           n\n----------  ----\na              5\nsomething…  12.5\n");
    }
}
