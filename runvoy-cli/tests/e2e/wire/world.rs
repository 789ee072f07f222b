//! A server with somebody of every role, and runs in every state.

use std::cell::Cell;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::ask::{Ask, Told};
use super::socket::Socket;
use crate::harness::{KEY, Server, until};

/// A page that the server's admin allowed.
pub(super) const PAGE: &str = "https://app.acme.test";
const POLICY: &str = r#"
@id("acme.not-this-image")
forbid (principal, action == Action::"use_image", resource == Image::"forbidden:1");
@id("acme.not-this-secret")
forbid (principal, action == Action::"use_secret", resource == Secret::"forbidden");
"#;

pub(super) struct World {
    pub(super) server: Server,
    operator: String,
    pub(super) developer: String,
    viewer: String,
    /// An execution of the admin's that wrote `one`, `two` and failed with 7.
    pub(super) ended: String,
    /// The developer's own, which succeeded.
    pub(super) own: String,
    /// A repository that everybody may read, where there is a forge.
    pub(super) repository: String,
    next: Cell<u32>,
}

/// A command that goes on until it is let go.
pub(super) struct Live {
    pub(super) id: String,
    go: PathBuf,
}

impl Live {
    /// Lets it write its last line and end.
    pub(super) fn release(&self) {
        std::fs::write(&self.go, "").unwrap();
    }
}

impl World {
    pub(super) fn new() -> Self {
        let options = ["--trusted-proxy", "127.0.0.1", "--allow-origin", PAGE];
        Self::over(Server::start_with_both(&[("acme.cedar", POLICY)], &options))
    }

    /// The same over a server that was started otherwise.
    pub(super) fn over(server: Server) -> Self {
        let join = |name: &str| {
            let body = json!({"email": format!("{name}@acme.test"), "role": name});
            let told = Ask::post("/users/create", body).key(KEY).send(server.address());
            let token = told.json()["claim_token"].as_str().unwrap().to_owned();
            let claimed = Ask::get(format!("/claim/{token}")).send(server.address());
            claimed.json()["api_key"].as_str().unwrap().to_owned()
        };
        let [operator, developer, viewer] = ["operator", "developer", "viewer"].map(join);
        let mut world = Self {
            server,
            operator,
            developer,
            viewer,
            ended: String::new(),
            own: String::new(),
            repository: String::new(),
            next: Cell::new(0),
        };
        world.ended = world.run_as(KEY, "echo one; echo two >&2; exit 7");
        world.own = world.run_as(&world.developer, "echo mine");
        world.until_ended(&world.ended);
        world.until_ended(&world.own);
        world
    }

    pub(super) fn address(&self) -> &str {
        self.server.address()
    }

    pub(super) fn send(&self, ask: &Ask) -> Told {
        ask.send(self.address())
    }

    /// As the admin.
    pub(super) fn ask(&self, ask: Ask) -> Told {
        ask.key(KEY).send(self.address())
    }

    pub(super) fn ask_as(&self, role: &str, ask: Ask) -> Told {
        ask.key(self.key(role)).send(self.address())
    }

    pub(super) fn key(&self, role: &str) -> &str {
        match role {
            "admin" => KEY,
            "operator" => &self.operator,
            "developer" => &self.developer,
            "viewer" => &self.viewer,
            other => panic!("{other}"),
        }
    }

    fn run_as(&self, key: &str, command: &str) -> String {
        let told = Ask::post("/run", json!({"command": command})).key(key).send(self.address());
        told.assert_status(202);
        told.json()["execution_id"].as_str().unwrap().to_owned()
    }

    /// Starts a command as the admin; its id.
    pub(super) fn run(&self, command: &str) -> String {
        self.run_as(KEY, command)
    }

    pub(super) fn status(&self, id: &str) -> Value {
        self.ask(Ask::get(format!("/executions/{id}/status"))).json()
    }

    pub(super) fn until_ended(&self, id: &str) -> Value {
        let ended = |status: &Value| {
            ["SUCCEEDED", "FAILED", "STOPPED"].iter().any(|terminal| status["status"] == *terminal)
        };
        until("it has ended", || ended(&self.status(id)));
        self.status(id)
    }

    /// The whole log in the shape of 0.5.
    pub(super) fn logs(&self, id: &str) -> Value {
        self.ask(Ask::get(format!("/executions/{id}/logs"))).json()
    }

    /// A command that runs, has written `begun` and then what `say` writes, and goes on until it is let go, when it writes
    /// `over`.
    pub(super) fn live(&self, say: &str) -> Live {
        let go = self.unique("go");
        // A rule that does not let it go leaves nothing behind all the same: the directory goes with the test.
        let (go_on, home) = (go.display(), self.server.dir.path().display());
        let command = format!(
            "echo begun; {say} while [ ! -e {go_on} ] && [ -d {home} ]; do sleep 0.01; done; echo over"
        );
        let id = self.run(&command);
        until("it runs", || self.status(&id)["status"] == "RUNNING");
        Live { id, go }
    }

    /// A path that nobody else uses.
    pub(super) fn unique(&self, name: &str) -> PathBuf {
        self.next.set(self.next.get() + 1);
        self.server.dir.path().join(format!("{name}-{}", self.next.get()))
    }

    /// Where a live execution is followed.
    pub(super) fn url(&self, id: &str) -> String {
        let logs = self.logs(id);
        logs["websocket_url"].as_str().unwrap_or_else(|| panic!("no address: {logs}")).to_owned()
    }

    /// Follows it as the CLI of 0.5 does.
    pub(super) fn follow(&self, id: &str) -> Socket {
        Socket::open(&self.url(id))
    }
}

/// The messages of a list of events.
pub(super) fn messages(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap()).collect()
}
