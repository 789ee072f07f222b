use std::any::Any;
use std::fmt;
use std::sync::Arc;

type Reopen<P> = Box<dyn Fn() -> Subject<P> + Send>;

/// A port under test, with what has to live as long as it does.
///
/// ```
/// use std::sync::Arc;
///
/// use runvoy_core::port::KeyStore;
/// use runvoy_core::testing::Subject;
/// # fn subject(store: impl KeyStore, directory: String) -> Subject<dyn KeyStore> {
/// let subject: Subject<dyn KeyStore> = Subject::new(Arc::new(store));
/// subject.keeping(directory)
/// # }
/// ```
pub struct Subject<P: ?Sized> {
    port: Arc<P>,
    kept: Vec<Box<dyn Any + Send>>,
    reopen: Option<Reopen<P>>,
}

impl<P: ?Sized> Subject<P> {
    /// A port that needs nothing beside it.
    pub fn new(port: Arc<P>) -> Self {
        Self { port, kept: Vec::new(), reopen: None }
    }

    /// Drops `thing` only after the port.
    #[must_use]
    pub fn keeping(mut self, thing: impl Any + Send) -> Self {
        self.kept.push(Box::new(thing));
        self
    }

    /// Says how a durable port is opened again on the same data. It is called once the port has been dropped.
    #[must_use]
    pub fn reopened_by(mut self, reopen: impl Fn() -> Self + Send + 'static) -> Self {
        self.reopen = Some(Box::new(reopen));
        self
    }

    /// The port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The port, to be shared with tasks.
    pub fn shared(&self) -> Arc<P> {
        Arc::clone(&self.port)
    }

    /// Drops the port and opens it again; `None` where nothing outlives it.
    pub fn reopen(self) -> Option<Self> {
        let Self { port, mut kept, reopen } = self;
        drop(port);
        let reopened = reopen?();
        kept.extend(reopened.kept);
        Some(Self { port: reopened.port, kept, reopen: reopened.reopen })
    }
}

impl<P: ?Sized> fmt::Debug for Subject<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("durable", &self.reopen.is_some()).finish_non_exhaustive()
    }
}

/// Runs a case on several threads, so that its races are races.
pub fn block_on<F: Future>(case: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime starts").block_on(case)
}

/// Makes a `#[test]` of each case of a suite. The suites' own macros call it.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($make:expr; $suite:ident; shared: $($shared:ident)*; own: $($own:ident)*;) => {
        $(
            #[test]
            fn $shared() {
                $crate::testing::block_on(async {
                    let subject = $make().await;
                    $crate::testing::$suite::$shared(&subject.shared()).await;
                });
            }
        )*
        $(
            #[test]
            fn $own() {
                $crate::testing::block_on(async {
                    $crate::testing::$suite::$own($make().await).await;
                });
            }
        )*
    };
}
