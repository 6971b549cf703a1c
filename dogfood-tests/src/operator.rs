//! What an operator sees of a command: its exit code and its words; and the rules that these keep.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Fault;
use crate::wait;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// Runs a command to its end; cuts it when it takes longer than `deadline`.
    ///
    /// # Errors
    /// When it cannot be run or does not end in time; what it said is in the line.
    pub fn of(command: &mut Command, deadline: Duration) -> Result<Self, Fault> {
        // Files, because a database that is left behind would hold a pipe open.
        let (stdout, stderr) = (
            tempfile::NamedTempFile::new()?,
            tempfile::NamedTempFile::new()?,
        );
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout.reopen()?)
            .stderr(stderr.reopen()?)
            .spawn()?;
        let outcome = wait::until("the end of a command", deadline, || {
            match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("still running".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        let read = |file: &tempfile::NamedTempFile| fs::read_to_string(file.path());
        match outcome {
            Ok(status) => Ok(Self {
                code: status.code(),
                stdout: read(&stdout)?,
                stderr: read(&stderr)?,
            }),
            Err(reason) => {
                child.kill()?;
                child.wait()?;
                let said = format!("{}{}", read(&stdout)?, read(&stderr)?);
                Err(format!("{command:?}: {reason}: {said}").into())
            }
        }
    }

    /// The answer of a command that must succeed and say nothing else: one line on standard output, nothing on standard error.
    ///
    /// # Errors
    /// When it failed, said more, or said less.
    pub fn answer(&self) -> Result<&str, Fault> {
        let line = self.stdout.strip_suffix('\n').unwrap_or_default();
        let alone = !line.is_empty() && !line.contains('\n');
        if self.code == Some(0) && alone && self.stderr.is_empty() {
            Ok(line)
        } else {
            Err(format!("not one answer alone: {self:?}").into())
        }
    }

    /// Checks a refusal: exit code 1 or 2, nothing on standard output, one line of Mesher's own on standard error that says each
    /// of `says` and none of `hides`.
    ///
    /// # Errors
    /// Which of these does not hold.
    pub fn refusal(&self, says: &[&str], hides: &[&str]) -> Result<(), Fault> {
        let broken = |rule: &str| Err(format!("{rule}: {self:?}").into());
        if !matches!(self.code, Some(1 | 2)) {
            return broken("the exit code of a refusal is 1 or 2");
        }
        if !self.stdout.is_empty() {
            return broken("a refusal says nothing on standard output");
        }
        let line = self.stderr.strip_suffix('\n').unwrap_or_default();
        if !line.starts_with("mesher: ") || line.contains('\n') {
            return broken("a refusal is one line that starts with the program's name");
        }
        if let Some(word) = says.iter().find(|word| !line.contains(**word)) {
            return broken(&format!("the line does not say {word:?}"));
        }
        if hides.iter().any(|secret| line.contains(secret)) {
            return broken("the line holds a secret");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Ended;

    fn ended(code: i32, stdout: &str, stderr: &str) -> Ended {
        Ended {
            code: Some(code),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn an_answer_stands_alone() {
        assert_eq!(ended(0, "x\n", "").answer().unwrap(), "x");
        for other in [
            ended(1, "x\n", ""),
            ended(0, "", ""),
            ended(0, "x\ny\n", ""),
            ended(0, "x\n", "note\n"),
        ] {
            assert!(other.answer().is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_refusal_is_one_line_without_secrets() {
        let refusal = |ended: Ended| ended.refusal(&["port"], &["hunter2"]);
        assert!(refusal(ended(1, "", "mesher: the port is taken\n")).is_ok());
        for other in [
            ended(0, "", "mesher: the port is taken\n"),
            ended(101, "", "mesher: the port is taken\n"),
            ended(1, "x\n", "mesher: the port is taken\n"),
            ended(1, "", "mesher: the port\nis taken\n"),
            ended(1, "", "mesher: taken\n"),
            ended(1, "", "mesher: the port of hunter2\n"),
        ] {
            assert!(refusal(other.clone()).is_err(), "{other:?}");
        }
    }
}
