//! Clients that ask, wait for the answer, and ask again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep_until;

use crate::Result;
use crate::client::{Connection, unexpected};
use crate::figures::{Samples, count, time};
use crate::machine;

/// A number of clients for some time.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// The process that answers.
    pub(crate) server: u32,
    pub(crate) clients: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// The status of a good answer. Any other ends the measurement.
    pub(crate) status: u16,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) latency: Samples,
    /// The server's processor time for one answer.
    pub(crate) cpu: Duration,
}

impl Outcome {
    /// Everything that it says.
    pub(crate) fn text(&self) -> String {
        let Self { rate, latency, cpu } = self;
        format!("{}/s, {latency}, server {} CPU each", count(*rate), time(*cpu))
    }
}

impl Load {
    /// Clients send the requests in turn, each beginning at another one.
    pub(crate) async fn drive(&self, requests: &Arc<[Bytes]>) -> Result<Outcome> {
        let mut connections = Vec::new();
        for _ in 0..self.clients {
            connections.push(Connection::open(self.address).await?);
        }
        let from = Instant::now() + self.warm_up;
        let until = from + self.time;
        let step = (requests.len() / self.clients).max(1);
        let clients = connections.into_iter().enumerate().map(|(at, connection)| {
            let client = Client { connection, requests: Arc::clone(requests), status: self.status };
            tokio::spawn(client.work(at * step, from, until))
        });
        let clients: Vec<_> = clients.collect();
        sleep_until(from.into()).await;
        let (begun, before) = (Instant::now(), machine::cpu(self.server)?);
        sleep_until(until.into()).await;
        let (elapsed, spent) = (begun.elapsed(), machine::cpu(self.server)?.saturating_sub(before));
        let mut samples = Vec::new();
        for client in clients {
            samples.extend(client.await??);
        }
        let answers = u32::try_from(samples.len())?;
        Ok(Outcome {
            rate: f64::from(answers) / elapsed.as_secs_f64(),
            latency: Samples::new(samples),
            cpu: spent.checked_div(answers).ok_or("no answer in time")?,
        })
    }
}

struct Client {
    connection: Connection,
    requests: Arc<[Bytes]>,
    status: u16,
}

impl Client {
    async fn work(mut self, first: usize, from: Instant, until: Instant) -> Result<Vec<Duration>> {
        let mut samples = Vec::with_capacity(64 * 1024);
        for request in self.requests.iter().cycle().skip(first) {
            let sent = Instant::now();
            if sent >= until {
                break;
            }
            let answer = self.connection.ask(request).await?;
            if answer.status != self.status {
                return Err(unexpected(&answer).into());
            }
            let done = Instant::now();
            if sent >= from && done <= until {
                samples.push(done - sent);
            }
        }
        Ok(samples)
    }
}
