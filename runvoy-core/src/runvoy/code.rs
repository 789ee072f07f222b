//! The code that a run starts in: checked when it is asked for, given to its task when it starts.

use runvoy_task::{GitWorkspace, Secret as Token, checkout};

use super::Error;
use crate::api::RunRequest;
use crate::code::{Code, CodeDigest, GitCode, UploadedCode};
use crate::id::SecretName;
use crate::limits;
use crate::port::TaskWorkspace;
use crate::secrets::{SecretValue, WantedSecret};

/// The code that a request names, if it names any.
pub(super) fn wanted(request: &RunRequest) -> Result<Option<Code>, Error> {
    let digest = given(request.code.as_deref()).map(str::parse::<CodeDigest>).transpose();
    let digest = digest.map_err(Error::parse("code"))?;
    if digest.is_some() && given(request.git_repo.as_deref()).is_some() {
        return Err(Error::invalid("code", "give `code` or `git_repo`, not both"));
    }
    let token = given(request.git_token_secret.as_deref());
    let token = token.map(str::parse::<SecretName>).transpose().map_err(Error::parse("git_token_secret"))?;
    let Some(repo) = given(request.git_repo.as_deref()) else {
        let without = "belongs to a repository, and none is named in `git_repo`";
        return match token {
            Some(_) => Err(Error::invalid("git_token_secret", without)),
            None => Ok(digest.map(|digest| Code::Upload(UploadedCode { digest, size: 0 }))),
        };
    };
    checkout::check_url(repo).map_err(|why| Error::invalid("git_repo", format!("the address {why}")))?;
    let git_ref = given(request.git_ref.as_deref()).unwrap_or(GitWorkspace::DEFAULT_REF);
    if !checkout::is_ref(git_ref) {
        let message = format!("at most {} bytes, the name of a branch, a tag or a commit", limits::GIT_REF);
        return Err(Error::invalid("git_ref", message));
    }
    let path = given(request.git_path.as_deref());
    if path.is_some_and(|path| checkout::path_names(path).is_none()) {
        let message = format!("at most {} bytes, a directory in the repository", limits::GIT_PATH);
        return Err(Error::invalid("git_path", message));
    }
    let (repo, git_ref, path) = (repo.to_owned(), git_ref.to_owned(), path.map(str::to_owned));
    Ok(Some(Code::Git(GitCode { repo, git_ref, path, token, commit: None })))
}

/// Adds the secret of a repository to those that a run names. It is for the checkout alone, unless the run names it, too.
pub(super) fn add_token(secrets: &mut Vec<WantedSecret>, code: Option<&Code>) {
    let Some(name) = code.and_then(Code::git).and_then(|git| git.token.as_ref()) else { return };
    if secrets.iter().all(|secret| secret.name != *name) {
        secrets.push(WantedSecret { is_variable: false, ..WantedSecret::named(name.clone()) });
    }
}

/// What a task is to put into its working directory. `secret` finds the value of one that was handed out.
pub(super) fn workspace<'a>(
    code: &Code,
    secret: impl FnOnce(&SecretName) -> Option<&'a SecretValue>,
) -> TaskWorkspace {
    match code {
        Code::Upload(UploadedCode { digest, size }) => {
            TaskWorkspace::Upload { sha256: digest.to_string(), size: *size }
        }
        Code::Git(git) => {
            let value = git.token.as_ref().and_then(secret);
            TaskWorkspace::Git(GitWorkspace {
                git_ref: git.git_ref.clone(),
                path: git.path.clone(),
                // Files of tokens end with a newline, tokens do not.
                token: value.map(|value| Token::new(value.reveal().trim_end())),
                ..GitWorkspace::new(&git.repo)
            })
        }
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
