//! News of live tasks: changes of their directories, and ends of what runs them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{BoxStream, FuturesUnordered};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{TaskEvent, TaskState};
use runvoy_task::layout;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use super::layout::execution_dir;
use crate::news;

/// Room for the inotify events of one read.
const BUFFER: usize = 16 * 1024;
/// Events that a slow listener may be behind; older ones are lost to it.
const BACKLOG: usize = 1024;

/// Tasks that can be followed.
pub(crate) trait Tasks: Send + Sync + 'static {
    /// Where executions have their directories.
    fn root(&self) -> &Path;

    /// Whether an end record is news: not where it takes somebody else's word to believe it.
    fn believes_end_records(&self) -> bool {
        true
    }

    /// What became of a task; with `hold`, also what becomes readable once whatever runs it has ended, if that can
    /// be had.
    fn look(self: Arc<Self>, id: ExecutionId, hold: bool)
    -> BoxFuture<'static, (TaskState, Option<OwnedFd>)>;
}

/// Follows live tasks, until it is dropped. The tasks go on.
pub(crate) struct Follower {
    orders: mpsc::UnboundedSender<Order>,
    events: broadcast::Sender<TaskEvent>,
    task: JoinHandle<()>,
}

enum Order {
    /// With it what resolves when that which runs the task has ended, if this server started it.
    Follow(ExecutionId, Option<BoxFuture<'static, ()>>),
    /// Look at one again.
    #[cfg(feature = "docker")]
    Look(ExecutionId),
    #[cfg(feature = "docker")]
    LookAtAll,
}

impl Follower {
    pub(crate) fn new(shared: Arc<dyn Tasks>) -> io::Result<Self> {
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
    pub(crate) fn follow(&self, id: ExecutionId) {
        // Refused only when the runtime is on its way out.
        let _ = self.orders.send(Order::Follow(id, None));
    }

    /// Takes care of what was just started for a task.
    #[cfg(feature = "process")]
    pub(crate) fn keep(&self, id: ExecutionId, ended: BoxFuture<'static, ()>) {
        let _ = self.orders.send(Order::Follow(id, Some(ended)));
    }

    /// Looks at a task again, because something may have happened to it.
    #[cfg(feature = "docker")]
    pub(crate) fn look(&self, id: ExecutionId) {
        let _ = self.orders.send(Order::Look(id));
    }

    /// Looks at all that are followed.
    #[cfg(feature = "docker")]
    pub(crate) fn look_at_all(&self) {
        let _ = self.orders.send(Order::LookAtAll);
    }

    /// Tells news that no look would find.
    #[cfg(feature = "docker")]
    pub(crate) fn tell(&self, event: TaskEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Events from now on; those that a listener is too slow for are skipped.
    pub(crate) fn events(&self) -> BoxStream<'static, TaskEvent> {
        news::listen(&self.events)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    shared: Arc<dyn Tasks>,
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
    Looked(ExecutionId, TaskState, Option<OwnedFd>),
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
        match order {
            Order::Follow(id, ended) => {
                if !self.follow(id, ended) {
                    return;
                }
                // What happened before the watch.
                self.look(id);
            }
            #[cfg(feature = "docker")]
            Order::Look(id) => self.look(id),
            #[cfg(feature = "docker")]
            Order::LookAtAll => self.look_at_all(),
        }
    }

    /// Whether that is new.
    fn follow(&mut self, id: ExecutionId, ended: Option<BoxFuture<'static, ()>>) -> bool {
        let is_new = !self.tasks.contains_key(&id);
        let followed = self.tasks.entry(id).or_default();
        if let Some(ended) = ended {
            followed.is_held = true;
            self.pending.push(ended.map(move |()| News::Ended(id)).boxed());
        }
        if !is_new {
            return false;
        }
        let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
        match self.watches.add(execution_dir(self.shared.root(), id), mask) {
            Ok(watch) => {
                self.ids.insert(watch.clone(), id);
                followed.watch = Some(watch);
            }
            Err(error) => tracing::debug!(execution.id = %id, %error, "a task is not watched"),
        }
        true
    }

    fn look_at_all(&self) {
        for id in self.tasks.keys() {
            self.look(*id);
        }
    }

    fn notice(&mut self, event: &EventOwned) {
        let name = event.name.as_deref();
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            self.look_at_all();
        } else if self.is_news(name)
            && let Some(id) = self.ids.get(&event.wd)
        {
            self.look(*id);
        }
    }

    fn is_news(&self, name: Option<&OsStr>) -> bool {
        let is = |file: &str| name == Some(OsStr::new(file));
        is(layout::GATE) || is(layout::END) && self.shared.believes_end_records()
    }

    fn look(&self, id: ExecutionId) {
        let hold = self.tasks.get(&id).is_some_and(|followed| !followed.is_held);
        let looked = Arc::clone(&self.shared).look(id, hold);
        self.pending.push(looked.map(move |(state, agent)| News::Looked(id, state, agent)).boxed());
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
    fn hold(&mut self, id: ExecutionId, agent: OwnedFd) {
        let Some(followed) = self.tasks.get_mut(&id).filter(|followed| !followed.is_held) else { return };
        #[expect(deprecated, reason = "its successor is unsafe; what it asks for, an owned descriptor keeps")]
        let Ok(fd) = AsyncFd::with_interest(agent, Interest::READABLE) else { return };
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
            TaskState::Exited(_) | TaskState::Gone | TaskState::Refused(_) => {
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
