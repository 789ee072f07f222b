//! One open socket: what is told, what is heard, and how it ends. Every wait here has an end, and what is told ends with
//! the reader's key and with the server, however slowly it is taken.

use std::pin::pin;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::frames::Frames;
use crate::{Error, Follow, FollowItem, SharedPage};

/// Time between two pings, which keep whatever stands in between from closing the connection.
const PING: Duration = Duration::from_secs(30);
/// Whoever answers nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// Time to take a frame.
const PATIENCE: Duration = Duration::from_mins(1);
/// Clients of 0.5 stop printing at the last frame: time to print what came before (`wire-compat`, section 6).
const BREATH: Duration = Duration::from_millis(100);
/// Time for them to close, and to answer a close.
const CLOSING: Duration = Duration::from_secs(3);
/// Time for all of that when the server ends.
const DRAIN: Duration = Duration::from_secs(5);

/// There is nobody any more to tell anything.
enum Gone {
    /// They said so, and wait for the answer.
    Closed,
    /// The connection broke, or they are too slow.
    Lost,
}

/// Why there is nothing more to tell.
enum Last {
    /// The execution has ended: this frame says how.
    Ended(Message),
    /// Something else.
    Close(CloseFrame),
}

struct Line {
    out: SplitSink<WebSocket, Message>,
    inbox: SplitStream<WebSocket>,
    heard: Instant,
}

/// Tells everything there is to tell to whoever has the other end; returns once the connection is over, and soon after
/// `draining` resolves.
pub(super) async fn serve(
    socket: WebSocket,
    follow: Follow,
    frames: Frames,
    draining: impl Future<Output = ()> + Send,
) {
    let (out, inbox) = socket.split();
    let line = Line { out, inbox, heard: Instant::now() };
    tokio::select! {
        () = line.serve(follow, frames) => {}
        () = async { draining.await; sleep(DRAIN).await } => {}
    }
}

impl Line {
    async fn serve(mut self, mut follow: Follow, mut frames: Frames) {
        let ended = match self.tell(&mut follow, &mut frames).await {
            Ok(Last::Ended(frame)) => self.disconnect(frame).await,
            Ok(Last::Close(frame)) => self.close(frame).await,
            Err(gone) => gone,
        };
        if let Gone::Closed = ended {
            // The answer to their close goes out with the next read, which finds the end.
            let _ = timeout(CLOSING, async { while self.inbox.next().await.is_some() {} }).await;
        }
    }

    async fn tell(&mut self, follow: &mut Follow, frames: &mut Frames) -> Result<Last, Gone> {
        let mut pings = interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // `Follow::next` and reading are cancel-safe: what was not told is told next.
            let item = tokio::select! {
                item = follow.next() => item,
                gone = self.listen() => return Err(gone),
                _ = pings.tick() => {
                    self.ping().await?;
                    continue;
                }
            };
            match item {
                Ok(Some(FollowItem::Page(page))) => {
                    if let Some(last) = self.page(follow, frames, &page).await? {
                        return Ok(last);
                    }
                }
                Ok(Some(FollowItem::Status { .. })) => {}
                Ok(Some(FollowItem::End { execution, complete })) => {
                    return Ok(Last::Ended(Frames::of_end(&execution, complete)));
                }
                Ok(None) => return Ok(restart()),
                Err(error) => return Ok(why(&error)),
            }
        }
    }

    /// Tells a page, or as much of it as they take before there is to be no more telling.
    async fn page(
        &mut self,
        follow: &mut Follow,
        frames: &mut Frames,
        page: &SharedPage,
    ) -> Result<Option<Last>, Gone> {
        let frames = frames.of_page(follow.execution(), page.page());
        // Whoever is cut off in the middle goes on after the last frame that they got.
        tokio::select! {
            biased;
            cut_off = follow.cut_off() => Ok(Some(cut_off.map_or_else(|error| why(&error), |()| restart()))),
            sent = self.send(frames) => sent.map(|()| None),
        }
    }

    /// Takes what they send, until they are gone. Cancel-safe.
    async fn listen(&mut self) -> Gone {
        loop {
            match self.inbox.next().await {
                Some(Ok(Message::Close(_))) => return Gone::Closed,
                Some(Ok(_)) => self.heard = Instant::now(),
                Some(Err(_)) | None => return Gone::Lost,
            }
        }
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        if self.heard.elapsed() >= SILENCE {
            return Err(Gone::Lost);
        }
        self.send([Message::Ping(axum::body::Bytes::new())]).await
    }

    /// Sends, as fast as they take it, and hears meanwhile that they are gone.
    async fn send(&mut self, frames: impl IntoIterator<Item = Message>) -> Result<(), Gone> {
        let Self { out, inbox, heard } = self;
        let mut sending = pin!(async {
            for frame in frames {
                in_time(out.feed(frame)).await?;
            }
            in_time(out.flush()).await
        });
        loop {
            tokio::select! {
                sent = &mut sending => return sent,
                message = inbox.next() => match message {
                    Some(Ok(Message::Close(_))) => return Err(Gone::Closed),
                    Some(Ok(_)) => *heard = Instant::now(),
                    Some(Err(_)) | None => return Err(Gone::Lost),
                },
            }
        }
    }

    /// Says that the execution has ended; they close, and who does not is closed.
    async fn disconnect(&mut self, frame: Message) -> Gone {
        tokio::select! {
            gone = self.listen() => return gone,
            () = sleep(BREATH) => {}
        }
        if let Err(gone) = self.send([frame]).await {
            return gone;
        }
        match timeout(CLOSING, self.listen()).await {
            Ok(gone) => gone,
            Err(_) => self.close(close(close_code::NORMAL, "Execution completed")).await,
        }
    }

    /// Closes, and waits for them to do the same. Who does not even take what was sent before is not waited for.
    async fn close(&mut self, frame: CloseFrame) -> Gone {
        let sent = timeout(CLOSING, self.send([Message::Close(Some(frame))])).await;
        if let Err(gone) = sent.unwrap_or(Err(Gone::Lost)) {
            return gone;
        }
        timeout(CLOSING, self.listen()).await.unwrap_or(Gone::Lost)
    }
}

async fn in_time(sent: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Gone> {
    match timeout(PATIENCE, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone::Lost),
    }
}

fn close(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

fn last(code: u16, reason: &'static str) -> Last {
    Last::Close(close(code, reason))
}

fn restart() -> Last {
    last(close_code::RESTART, "the server ends; connect again")
}

/// What a client can do about it.
fn why(error: &Error) -> Last {
    match error {
        Error::Unauthenticated(_) => last(close_code::POLICY, "the API key is no longer good"),
        Error::Unavailable { .. } => last(close_code::AGAIN, "the log does not answer; connect again"),
        error => {
            tracing::error!(error = %crate::runvoy::error_chain(error), "a WebSocket failed");
            last(close_code::ERROR, "the log cannot be read")
        }
    }
}
