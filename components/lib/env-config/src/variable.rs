//! One variable while it is being defined.

use std::fmt::Display;

use crate::{Definition, Reader};

/// The parser of a variable's text; its error says what is wrong without repeating the text.
pub(crate) type Parser<'r, T> = Box<dyn Fn(&str) -> Result<T, String> + 'r>;

/// A variable being defined. It ends with [`Variable::read`] (needed, or has a default) or [`Variable::optional`].
#[must_use = "a variable is read by read() or optional()"]
pub struct Variable<'r, T> {
    reader: &'r mut Reader,
    definition: Definition,
    parser: Parser<'r, T>,
}

impl<'r, T> Variable<'r, T> {
    pub(crate) fn new(reader: &'r mut Reader, name: &'static str, accepts: String, parser: Parser<'r, T>) -> Self {
        let definition = Definition {
            name,
            accepts,
            about: String::new(),
            default: None,
            required: false,
            from_file: false,
            secret: false,
        };
        Self { reader, definition, parser }
    }

    /// What the variable is for, one or two sentences; the reader's language, not the code's.
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.definition.about = about.into();
        self
    }

    /// The value when the variable is unset, written as the variable would be; parsed by the same parser.
    pub fn default(mut self, default: impl Display) -> Self {
        self.definition.default = Some(default.to_string());
        self
    }

    /// What a number counts, e.g. "calls", for the table.
    pub fn unit(mut self, unit: &str) -> Self {
        self.definition.accepts = format!("{} ({unit})", self.definition.accepts);
        self
    }

    /// The value may also come from the file that `NAME_FILE` names.
    pub fn or_file(mut self) -> Self {
        self.definition.from_file = true;
        self
    }

    /// The value is a secret: it comes from a file too, and the packaged file recommends that.
    pub(crate) fn hidden(mut self) -> Self {
        self.definition.secret = true;
        self.or_file()
    }

    /// The value, or its default. `None` means that a fault has been recorded: missing or not accepted.
    #[must_use]
    pub fn read(mut self) -> Option<T> {
        self.definition.required = self.definition.default.is_none();
        let name = self.definition.name;
        let default = self.definition.default.clone();
        let raw = self.reader.take(&self.definition)?;
        let Some(text) = raw.or(default) else {
            let accepts = &self.definition.accepts;
            self.reader.fault(name, format!("is not set; it needs {accepts}"));
            self.reader.define(self.definition);
            return None;
        };
        self.parse(&text)
    }

    /// The value, if there is one: `Some(None)` when unset. `None` means that a fault has been recorded.
    #[must_use]
    pub fn optional(self) -> Option<Option<T>> {
        match self.reader.take(&self.definition)? {
            Some(text) => self.parse(&text).map(Some),
            None => {
                self.reader.define(self.definition);
                Some(None)
            }
        }
    }

    fn parse(self, text: &str) -> Option<T> {
        let parsed = (self.parser)(text);
        let value = match parsed {
            Ok(value) => Some(value),
            Err(why) => {
                let problem = format!("{why}; it needs {}", self.definition.accepts);
                self.reader.fault(self.definition.name, problem);
                None
            }
        };
        self.reader.define(self.definition);
        value
    }
}
