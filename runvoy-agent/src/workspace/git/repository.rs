//! The local side: a repository with one commit, and its files.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::bstr::{BStr, BString};
use gix::progress::Discard;
use gix::refs::transaction::{PreviousValue, RefEdit};
use gix::refs::{FullName, Target};
use gix::remote::Direction;
use gix::remote::fetch::{Shallow, Tags};
use gix::sec::identity::Account;
use gix_transport::Protocol;
use gix_transport::client::TransportWithoutIO as _;
use gix_transport::client::blocking_io::http::Transport;
use runvoy_task::GitWorkspace;

use super::super::fault::Fault;
use super::address::Address;
use super::http::Client;
use super::wanted::Wanted;
use super::words::Context;
use super::{network, unsupported, words};

/// Half of what this process may have: an object that is larger is an error, and not the end of the process.
const LARGEST_OBJECT: &str = "gitoxide.objects.allocLimit=1g";

/// A repository that is being made.
pub(super) struct Repository {
    inner: gix::Repository,
    root: PathBuf,
}

/// What came from the server.
pub(super) struct Fetched {
    pub(super) commit: ObjectId,
    /// The full name of the ref that was found, if one was asked for.
    name: Option<String>,
}

impl Repository {
    /// Makes an empty repository that nobody's configuration has a say in.
    pub(super) fn init(root: &Path) -> Result<Self, Fault> {
        let options = gix::open::Options::isolated().config_overrides([
            "user.name=runvoy",
            "user.email=runvoy@localhost",
            "core.autocrlf=false",
            LARGEST_OBJECT,
        ]);
        let kind = gix::create::Kind::WithWorktree;
        let made = gix::ThreadSafeRepository::init_opts(root, kind, gix::create::Options::default(), options);
        let inner =
            made.map_err(|error| local("the repository could not be made", &error))?.to_thread_local();
        Ok(Self { inner, root: root.to_owned() })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Fetches the one commit that is wanted.
    pub(super) fn fetch(
        &self,
        address: &Address,
        wanted: &Wanted,
        git: &GitWorkspace,
    ) -> Result<Fetched, Fault> {
        let context = Context { host: address.host(), wanted, has_token: git.token.is_some() };
        let transport = transport(address, git, &context)?;
        let mappings = self.receive(address, wanted, transport).map_err(|error| match error {
            Some(error) => context.explain(&error),
            None => wanted.not_found(address.host()),
        })?;
        let names = wanted.names();
        let best =
            names.iter().find_map(|name| mappings.iter().find(|(found, _)| found.as_ref() == Some(name)));
        let Some((name, id)) = best.or(mappings.first()) else {
            return Err(wanted.not_found(address.host()));
        };
        let commit = self.inner.find_object(*id).and_then(gix::Object::peel_to_commit);
        let commit = commit.map_err(|error| {
            let own = error.iter_errors().map(|error| format!("git: {error}"));
            Fault::new(format!("`{}` names no commit; check git_ref", git.git_ref)).saying(own)
        })?;
        Ok(Fetched { commit: commit.id, name: name.clone() })
    }

    /// Names and objects that were found. `Err(None)`: the server has no such ref.
    fn receive(
        &self,
        address: &Address,
        wanted: &Wanted,
        transport: Transport<Client>,
    ) -> Result<Vec<(Option<String>, ObjectId)>, Option<gix::Error>> {
        let specs = wanted.refspecs().into_iter().map(BString::from);
        let remote = self
            .inner
            .remote_at(address.url())
            .and_then(|remote| remote.with_fetch_tags(Tags::None).with_refspecs(specs, Direction::Fetch))
            .map_err(Some)?;
        let connection = remote
            .to_connection_with_transport(transport)
            .with_transport_options(Box::new(()))
            // The token went along from the beginning; nobody is asked for another one.
            .with_credentials(|_| Ok(None));
        let options = gix::remote::ref_map::Options::default();
        let prepared = connection.prepare_fetch(Discard, options).map_err(Some)?;
        if prepared.ref_map().mappings.is_empty() {
            return Err(None);
        }
        let depth = std::num::NonZeroU32::MIN;
        let outcome = prepared
            .with_shallow(Shallow::DepthAtRemote(depth))
            .receive(Discard, &AtomicBool::new(false))
            .map_err(Some)?;
        let found = outcome.ref_map.mappings.iter().filter_map(|mapping| {
            let name = mapping.remote.as_name().map(ToString::to_string);
            Some((name, mapping.remote.peeled_id().or(mapping.remote.as_id())?.to_owned()))
        });
        Ok(found.collect())
    }

    /// Writes the commit's files, once it is known that nothing would be missing.
    pub(super) fn check_out(&self, fetched: &Fetched, path: &Path) -> Result<(), Fault> {
        let unusable = |error: &gix::Error| local("the repository's files could not be written", error);
        let commit = self.inner.find_commit(fetched.commit).map_err(|error| unusable(&error))?;
        let tree = commit.tree_id().map_err(|error| unusable(&error))?;
        let mut index = self.inner.index_from_tree(&tree).map_err(|error| unusable(&error))?;
        unsupported::refuse_submodules(&index, path)?;
        let source = gix::worktree::stack::state::attributes::Source::IdMapping;
        let mut options = self.inner.checkout_options(source).map_err(|error| unusable(&error))?;
        options.destination_is_initially_empty = true;
        let objects = self
            .inner
            .objects
            .clone()
            .into_arc()
            .map_err(|error| Fault::writing("the repository's files", &error))?;
        let outcome = gix::worktree::state::checkout(
            &mut index,
            &self.root,
            objects,
            &Discard,
            &Discard,
            &AtomicBool::new(false),
            options,
        )
        .map_err(|error| unusable(&error))?;
        unwritten(&outcome)?;
        index.write(gix::index::write::Options::default()).map_err(|error| unusable(&error))
    }

    /// Leaves the repository as a clone would: a branch or a detached `HEAD`, and its origin without a token.
    pub(super) fn remember(&self, address: &Address, fetched: &Fetched) -> Result<(), Fault> {
        let branch = fetched.name.as_deref().filter(|name| name.starts_with("refs/heads/"));
        self.set_head(branch, fetched.commit)
            .map_err(|error| local("the repository could not be completed", &error))?;
        let section = format!(
            "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
            address.url()
        );
        let config = OpenOptions::new().append(true).open(self.inner.git_dir().join("config"));
        config
            .and_then(|mut config| config.write_all(section.as_bytes()))
            .map_err(|error| Fault::writing("the repository's configuration", &error))
    }

    /// Keeps the file that the caller's variables are put into out of `git status`.
    pub(super) fn ignore_dotenv(&self, workdir: &Path) -> Result<(), Fault> {
        let written = self.root.canonicalize().and_then(|root| {
            let info = self.inner.git_dir().join("info");
            fs::create_dir_all(&info)?;
            let mut file = OpenOptions::new().create(true).append(true).open(info.join("exclude"))?;
            file.write_all(&pattern(workdir.strip_prefix(root).unwrap_or(workdir)))
        });
        written.map_err(|error| Fault::writing("the repository's configuration", &error))
    }

    fn set_head(&self, branch: Option<&str>, commit: ObjectId) -> gix::Result<()> {
        let why = "runvoy: checkout";
        let target = match branch {
            Some(branch) => {
                self.inner.reference(branch, commit, PreviousValue::Any, why)?;
                Target::Symbolic(FullName::try_from(branch).map_err(gix::Error::from_error)?)
            }
            None => Target::Object(commit),
        };
        let head = FullName::try_from("HEAD").map_err(gix::Error::from_error)?;
        self.inner.edit_reference(RefEdit::update(head, target, PreviousValue::Any, why)).map(drop)
    }

    /// What was checked out.
    pub(super) fn index(&self) -> Result<gix::index::File, Fault> {
        self.inner.open_index().map_err(|error| local("the repository's index could not be read", &error))
    }
}

/// A line for the file `.env` in a directory of a repository, and in no other.
fn pattern(dir: &Path) -> Vec<u8> {
    let mut pattern = vec![b'/'];
    for byte in dir.join(".env").as_os_str().as_bytes() {
        if br"\*?[".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'\n');
    pattern
}

/// A transport that carries the token, and no other trace of it.
fn transport(
    address: &Address,
    git: &GitWorkspace,
    context: &Context<'_>,
) -> Result<Transport<Client>, Fault> {
    let url = gix::url::parse(BStr::new(address.url())).map_err(|error| context.explain(&error))?;
    let client = Client::new(network::client(&git.network)?);
    let mut transport = Transport::new_http(client, url, Protocol::V2, false);
    if let Some(token) = &git.token {
        let account = Account {
            username: GitWorkspace::TOKEN_USER.to_owned(),
            password: token.expose().to_owned(),
            oauth_refresh_token: None,
        };
        transport.set_identity(account).map_err(|error| context.explain(&gix::Error::from_error(error)))?;
    }
    Ok(transport)
}

/// Refuses a checkout that left something out: names that are the same, or lead through one another.
fn unwritten(outcome: &gix::worktree::state::checkout::Outcome) -> Result<(), Fault> {
    let collisions = outcome.collisions.iter().map(|it| (it.path.to_string(), it.error_kind.to_string()));
    let failures = outcome.errors.iter().map(|it| (it.path.to_string(), it.error.to_string()));
    let all: Vec<(String, String)> = collisions.chain(failures).collect();
    let Some((name, why)) = all.first() else { return Ok(()) };
    let said = all.iter().map(|(name, why)| format!("git: {name}: {why}"));
    Err(Fault::new(format!("`{name}` of the repository could not be written: {why}")).saying(said))
}

/// Something on this machine went wrong.
fn local(what: &str, error: &gix::Error) -> Fault {
    let own = error.iter_errors().map(|error| format!("git: {error}"));
    if words::is_of_full_disk(error) {
        return Fault::full().saying(own);
    }
    Fault::new(format!("{what}: {}", error.probable_cause())).saying(own)
}
