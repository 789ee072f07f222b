//! News of live tasks: changes of their directories, and deaths of their agents.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{BoxStream, FuturesUnordered, unfold};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use runvoy_core::id::ExecutionId;
use runvoy_core::in_flight::InFlightGuard;
use runvoy_core::port::{TaskEvent, TaskState};
use runvoy_task::{GateState, layout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use super::layout::execution_dir;
use super::processes::Held;
use super::{Shared, gate};

/// Room for the inotify events of one read.
const BUFFER: usize = 16 * 1024;
/// Events that a slow listener may be behind; older ones are lost to it.
const BACKLOG: usize = 1024;

/// Follows live tasks, until it is dropped. The tasks go on.
pub(super) struct Follower {
    orders: mpsc::UnboundedSender<Order>,
    events: broadcast::Sender<TaskEvent>,
    task: JoinHandle<()>,
}

struct Order {
    id: ExecutionId,
    /// The agent, if this server started it: it has to be reaped.
    child: Option<(Child, InFlightGuard)>,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        let stream = inotify.into_event_stream(vec![0; BUFFER])?;
        let (events, _) = broadcast::channel(BACKLOG);
        let (orders, received) = mpsc::unbounded_channel();
        let following = Following {
            shared,
            watches,
            events: events.clone(),
            tasks: HashMap::new(),
            ids: HashMap::new(),
            pending: FuturesUnordered::new(),
        };
        Ok(Self { orders, events, task: tokio::spawn(following.run(stream, received)) })
    }

    /// Begins to follow a task, if that is not done already.
    pub(super) fn follow(&self, id: ExecutionId) {
        // Refused only when the runtime is on its way out.
        let _ = self.orders.send(Order { id, child: None });
    }

    /// Takes care of an agent that was just started.
    pub(super) fn keep(&self, id: ExecutionId, child: Child, guard: InFlightGuard) {
        let _ = self.orders.send(Order { id, child: Some((child, guard)) });
    }

    /// Events from now on; those that a listener is too slow for are skipped.
    pub(super) fn events(&self) -> BoxStream<'static, TaskEvent> {
        let next = |mut receiver: broadcast::Receiver<TaskEvent>| async {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        };
        unfold(self.events.subscribe(), next).boxed()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    shared: Arc<Shared>,
    watches: Watches,
    events: broadcast::Sender<TaskEvent>,
    tasks: HashMap<ExecutionId, Followed>,
    ids: HashMap<WatchDescriptor, ExecutionId>,
    pending: FuturesUnordered<BoxFuture<'static, News>>,
}

#[derive(Default)]
struct Followed {
    watch: Option<WatchDescriptor>,
    /// Whether the agent's end will be seen.
    is_held: bool,
    told: bool,
}

enum News {
    /// An agent ended; what that means is to be looked up.
    Ended(ExecutionId),
    /// It was looked up. With it the agent, if it was asked for and lives.
    Looked(ExecutionId, TaskState, Option<Held>),
}

impl Following {
    async fn run(mut self, mut stream: EventStream<Vec<u8>>, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                Some(news) = self.pending.next(), if !self.pending.is_empty() => self.take(news),
                Some(event) = stream.next() => match event {
                    Ok(event) => self.notice(&event),
                    Err(error) => tracing::warn!(%error, "changes of tasks may be seen late"),
                },
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let id = order.id;
        let is_new = !self.tasks.contains_key(&id);
        let followed = self.tasks.entry(id).or_default();
        if let Some((mut child, guard)) = order.child {
            followed.is_held = true;
            let ended = async move {
                let _ = child.wait().await;
                drop(guard);
                News::Ended(id)
            };
            self.pending.push(ended.boxed());
        }
        if !is_new {
            return;
        }
        let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
        match self.watches.add(execution_dir(&self.shared.root, id), mask) {
            Ok(watch) => {
                self.ids.insert(watch.clone(), id);
                followed.watch = Some(watch);
            }
            Err(error) => tracing::debug!(execution.id = %id, %error, "a task is not watched"),
        }
        // What happened before the watch.
        self.look(id);
    }

    fn notice(&mut self, event: &EventOwned) {
        let name = event.name.as_deref();
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            let all: Vec<_> = self.tasks.keys().copied().collect();
            for id in all {
                self.look(id);
            }
        } else if [layout::GATE, layout::END].map(OsStr::new).into_iter().any(|file| name == Some(file))
            && let Some(id) = self.ids.get(&event.wd)
        {
            self.look(*id);
        }
    }

    fn look(&self, id: ExecutionId) {
        let shared = Arc::clone(&self.shared);
        let hold = self.tasks.get(&id).is_some_and(|followed| !followed.is_held);
        let looked = tokio::task::spawn_blocking(move || {
            let state = shared.describe(id);
            let agent =
                if hold && matches!(state, TaskState::Running { .. }) { agent(&shared, id) } else { None };
            (state, agent)
        });
        let looked = looked.map(move |looked| {
            let (state, agent) = looked.unwrap_or((TaskState::Unknown, None));
            News::Looked(id, state, agent)
        });
        self.pending.push(looked.boxed());
    }

    fn take(&mut self, news: News) {
        match news {
            News::Ended(id) => self.look(id),
            News::Looked(id, state, agent) => {
                if let Some(agent) = agent {
                    self.hold(id, agent);
                }
                self.tell(id, state);
            }
        }
    }

    /// Waits for the end of an agent that an earlier server started.
    fn hold(&mut self, id: ExecutionId, agent: Held) {
        let Some(followed) = self.tasks.get_mut(&id).filter(|followed| !followed.is_held) else { return };
        #[expect(deprecated, reason = "its successor is unsafe; what it asks for, an owned descriptor keeps")]
        let Ok(fd) = AsyncFd::with_interest(agent.into_fd(), Interest::READABLE) else { return };
        followed.is_held = true;
        let ended = async move {
            let _ = fd.readable().await;
            News::Ended(id)
        };
        self.pending.push(ended.boxed());
    }

    fn tell(&mut self, id: ExecutionId, state: TaskState) {
        let Some(followed) = self.tasks.get_mut(&id) else { return };
        match state {
            TaskState::Pending | TaskState::Unknown => return,
            TaskState::Running { .. } if followed.told => return,
            TaskState::Running { .. } => followed.told = true,
            TaskState::Exited(_) | TaskState::Gone => {
                if let Some(watch) = self.tasks.remove(&id).and_then(|followed| followed.watch) {
                    self.ids.remove(&watch);
                    // Fails for a directory that is gone, and its watch with it.
                    let _ = self.watches.remove(watch);
                }
            }
        }
        // Nobody may be listening.
        let _ = self.events.send(TaskEvent { id, state });
    }
}

fn agent(shared: &Shared, id: ExecutionId) -> Option<Held> {
    match gate::read(&execution_dir(&shared.root, id)).ok()??.state {
        GateState::Claimed(process) => Held::agent(&process).ok()?,
        GateState::Revoked => None,
    }
}
