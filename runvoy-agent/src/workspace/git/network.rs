//! The operator's ways out: authorities and proxies.

use std::sync::Arc;
use std::time::Duration;

use runvoy_task::{Network, Secret};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use super::super::fault::Fault;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest silence of a server.
const SILENCE: Duration = Duration::from_mins(2);

/// A client for repositories.
pub(super) fn client(network: &Network) -> Result<Agent, Fault> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy(network)?)
        .tls_config(TlsConfig::builder().root_certs(roots(network)?).build())
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE));
    Ok(config.build().new_agent())
}

/// The public authorities, and the operator's own beside them.
fn roots(network: &Network) -> Result<RootCerts, Fault> {
    let Some(bundle) = &network.ca_bundle else { return Ok(RootCerts::WebPki) };
    let unusable = || {
        Fault::new(
            "RUNVOY_CA_BUNDLE holds no readable PEM certificate; an admin has to mend it on the server",
        )
    };
    let mut own = Vec::new();
    for item in parse_pem(bundle.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| unusable())? {
            own.push(certificate);
        }
    }
    if own.is_empty() {
        return Err(unusable());
    }
    let public =
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(RootCerts::Specific(Arc::new(public.chain(own).collect())))
}

fn proxy(network: &Network) -> Result<Option<Proxy>, Fault> {
    let Some(url) = network.https_proxy.as_ref().map(Secret::expose).filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let unusable =
        || Fault::new("HTTPS_PROXY is no usable proxy address; an admin has to mend it on the server");
    let parsed = Proxy::new(url).map_err(|_| unusable())?;
    let mut proxy = Proxy::builder(parsed.protocol()).host(parsed.host()).port(parsed.port());
    if let Some(user) = parsed.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = parsed.password() {
        proxy = proxy.password(password);
    }
    for host in exceptions(network.no_proxy.as_deref().unwrap_or_default()) {
        proxy = proxy.no_proxy(&host);
    }
    proxy.build().map(Some).map_err(|_| unusable())
}

/// Hosts without a proxy. A plain name stands for its subdomains, too, as everywhere else.
fn exceptions(list: &str) -> Vec<String> {
    let names = list.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty());
    names
        .flat_map(|name| {
            let name = name
                .rsplit_once(':')
                .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
                .map_or(name, |(name, _)| name);
            match name {
                "*" => vec!["*".to_owned()],
                name if name.starts_with('.') || name.starts_with("*.") => {
                    vec![name.to_owned(), name.trim_start_matches(['*', '.']).to_owned()]
                }
                name => vec![name.to_owned(), format!(".{name}")],
            }
        })
        .collect()
}

/// The password in a proxy's address, as it is there and decoded.
pub(in crate::workspace) fn proxy_passwords(url: &str) -> Vec<String> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let raw =
        authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    let decoded = Proxy::new(url).ok().and_then(|proxy| proxy.password().map(str::to_owned));
    raw.map(str::to_owned).into_iter().chain(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_found_in_both_forms() {
        assert_eq!(proxy_passwords("http://me:p%40ss-word@proxy:3128"), ["p%40ss-word", "p@ss-word"]);
        assert!(proxy_passwords("http://proxy:3128").is_empty());
    }

    #[test]
    fn exceptions_stand_for_their_subdomains() {
        assert_eq!(
            exceptions("a.example, .b.example:443,*"),
            ["a.example", ".a.example", ".b.example", "b.example", "*"]
        );
    }
}
