//! How rows are put to a model: templates over their columns.

use gazal_data::Row;
use gazal_stage_api::{Problem, StageError};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value, json};

/// Steps that a template may take.
const FUEL: u64 = 1_000_000;

/// Compiled templates by name, and the names of questions.
pub struct Wording {
    environment: Environment<'static>,
    questions: Vec<String>,
}

impl Wording {
    pub fn new() -> Wording {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        Wording { environment, questions: Vec::new() }
    }

    /// Takes up a template that the parameter `field` gives.
    ///
    /// # Errors
    /// What is no template.
    pub fn add(&mut self, field: &str, name: String, source: String) -> Result<(), Problem> {
        let added = self.environment.add_template_owned(name, source);
        added.map_err(|error| Problem::new(field, format!("is no template: {error:#}")))
    }

    /// # Errors
    /// A column that the row called `id` has not.
    pub fn render(&self, name: &str, row: &Row, id: &str) -> Result<String, StageError> {
        let rendered = self.environment.get_template(name).and_then(|template| template.render(Serde(row)));
        rendered.map_err(|error| {
            let columns: Vec<&str> = row.keys().map(String::as_str).collect();
            let why = error.to_string();
            StageError::failed(format!("row {id}, template `{name}`: {why}; its columns are {}", columns.join(", ")))
        })
    }

    /// Messages as OpenAI's interface has them, of the templates `NAME.system` and `NAME.user`.
    ///
    /// # Errors
    /// A column that the row called `id` has not.
    pub fn messages(&self, name: &str, row: &Row, id: &str) -> Result<Vec<Value>, StageError> {
        let [system, user] = PARTS.map(|part| self.render(&place(name, part), row, id));
        let (system, user) = (system?, user?);
        let system = (!system.is_empty()).then(|| json!({ "role": "system", "content": system }));
        Ok(system.into_iter().chain([json!({ "role": "user", "content": user })]).collect())
    }

    /// Takes up both parts of a question, from the parameter `field`; its name must be its own.
    pub fn add_question(&mut self, field: &str, name: &str, [system, user]: [String; 2]) -> Vec<Problem> {
        let is_taken = name.is_empty() || self.questions.iter().any(|other| other == name);
        let problem = || Problem::new(&format!("{field}.name"), format!("`{name}` is not a name of its own"));
        let mut problems: Vec<Problem> = is_taken.then(problem).into_iter().collect();
        self.questions.push(name.to_string());
        let parts = PARTS.into_iter().zip([system, user]);
        let added = parts.map(|(part, source)| self.add(&format!("{field}.{part}"), place(name, part), source));
        problems.extend(added.filter_map(Result::err));
        problems
    }
}

const PARTS: [&str; 2] = ["system", "user"];

/// The name of a part of a question.
fn place(name: &str, part: &str) -> String {
    format!("{name}.{part}")
}
