use super::*;

const FILE: &str = "
api_endpoint: https://file.example
api_key: file-key
profiles:
  ci: {api_endpoint: 'https://ci.example/prefix/', api_key: ci-key}
  bare: {api_key: only-a-key}
";

fn resolve(sources: &Sources) -> Result<(String, Option<String>), CliError> {
    let settings = Settings::resolve(sources, || Ok(serde_yaml_ng::from_str(FILE).unwrap()))?;
    let key = settings.key.map(|key| key.to_str().unwrap().to_owned());
    Ok((settings.endpoint.to_string(), key))
}

#[expect(clippy::unnecessary_wraps, reason = "what it is short for")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_file_is_used_where_nothing_else_is_said() {
    assert_eq!(resolve(&Sources::default()).unwrap(), ("https://file.example".into(), some("file-key")));
    let sources = Sources { profile_variable: some("ci"), ..Sources::default() };
    assert_eq!(resolve(&sources).unwrap(), ("https://ci.example/prefix".into(), some("ci-key")));
    let sources = Sources { key_variable: some("env-key"), ..Sources::default() };
    assert_eq!(resolve(&sources).unwrap(), ("https://file.example".into(), some("env-key")));
}

#[test]
fn an_endpoint_from_the_environment_gets_no_key_of_the_file() {
    let mut sources = Sources { endpoint_variable: some("https://env.example/"), ..Sources::default() };
    assert_eq!(resolve(&sources).unwrap(), ("https://env.example".into(), None));
    sources.profile_variable = some("ci");
    assert_eq!(resolve(&sources).unwrap(), ("https://env.example".into(), None));
    sources.key_variable = some("env-key");
    assert_eq!(resolve(&sources).unwrap(), ("https://env.example".into(), some("env-key")));
}

#[test]
fn an_explicit_profile_beats_the_environment() {
    let sources = Sources {
        profile_option: some("ci"),
        profile_variable: some("default"),
        endpoint_variable: some("https://env.example"),
        key_variable: some("env-key"),
        insecure_http: false,
    };
    assert_eq!(resolve(&sources).unwrap(), ("https://ci.example/prefix".into(), some("ci-key")));
}

#[test]
fn what_is_missing_is_said_with_what_to_run() {
    let error = Settings::resolve(&Sources::default(), || Ok(None)).unwrap_err();
    assert_eq!(error.to_string(), format!("no server is configured; {REMEDY}"));
    assert_eq!(error.kind, Kind::Config);
    let sources = Sources { profile_option: some("nope"), ..Sources::default() };
    let text = resolve(&sources).unwrap_err().to_string();
    assert_eq!(
        text,
        "there is no profile `nope`, only bare, ci, default; run `runvoy configure --profile nope`"
    );
    let sources = Sources { profile_option: some("bare"), ..Sources::default() };
    assert!(resolve(&sources).unwrap_err().to_string().starts_with("profile `bare` names no server"));
}

#[test]
fn http_leaves_the_machine_only_when_told_so() {
    let mut sources = Sources::default();
    for good in
        ["http://localhost:1", "http://127.9.9.9", "http://[::1]:80/x", "https://x", "http://a.localhost"]
    {
        sources.endpoint_variable = some(good);
        assert!(resolve(&sources).is_ok(), "{good}");
    }
    for bad in ["http://example.test", "http://10.0.0.1", "http://localhost.example", "http://[fe80::1]"] {
        sources.endpoint_variable = some(bad);
        sources.insecure_http = false;
        let error = resolve(&sources).unwrap_err();
        assert!(error.to_string().contains("--insecure-http"), "{bad}: {error}");
        sources.insecure_http = true;
        assert!(resolve(&sources).is_ok(), "{bad}");
    }
}

#[test]
fn an_address_is_an_address() {
    for bad in
        ["", "localhost:8420", "ftp://x", "https://", "https://u:secret@x", "https://x?y", "https://x#y"]
    {
        let error = Endpoint::parse(bad).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(key_header("two\nlines").is_err());
    assert!(key_header("two wörds").is_ok());
    assert!(format!("{:?}", key_header(" key ").unwrap()).contains("Sensitive"));
}
