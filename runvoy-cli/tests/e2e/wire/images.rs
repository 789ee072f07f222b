use serde_json::{Value, json};

use super::ask::Ask;
use super::world::World;
use super::{Rule, row, scene};

fn register(w: &World, body: Value) {
    let image = body["image"].clone();
    let told = w.ask(Ask::post("/images/register", body));
    told.assert_status(201);
    let answer = told.json();
    assert_eq!((&answer["image"], &answer["message"]), (&image, &json!("Image registered successfully")));
}

fn listed(w: &World) -> Vec<Value> {
    w.ask(Ask::get("/images")).json()["images"].as_array().unwrap().clone()
}

fn show(w: &World, reference: &str) -> Value {
    let told = w.ask(Ask::get(format!("/images/{reference}")));
    told.assert_status(200);
    told.json()
}

fn default_image(w: &World) -> Vec<Value> {
    listed(w)
        .into_iter()
        .filter(|image| image["is_default"] == true)
        .map(|image| image["image"].clone())
        .collect()
}

// In this order: the first image of a registry is something else.
pub(super) const RULES: &[Rule] = &[
    row(
        "4.images.none",
        |w| w.ask(Ask::get("/images")),
        |told| assert_eq!(told.json(), json!({"images": []})),
    ),
    scene("4.images.first", |w| {
        register(w, json!({"image": "quiet:1", "is_default": false}));
        assert_eq!(default_image(w), Vec::<Value>::new(), "unless it is not to be");
        let id = show(w, "quiet:1")["image_id"].as_str().unwrap().to_owned();
        w.ask(Ask::delete(format!("/images/{id}"))).assert_status(200);
        register(w, json!({"image": "golang:1.25"}));
        register(w, json!({"image": "golang:1.26"}));
        assert_eq!(default_image(w), ["golang:1.25"]);
    }),
    scene("4.images.default", |w| {
        register(w, json!({"image": "golang:1.26", "is_default": true}));
        assert_eq!(default_image(w), ["golang:1.26"]);
    }),
    scene("4.images.register", |w| {
        w.ask(Ask::post("/images/register", json!({}))).assert_error(400, "INVALID_REQUEST");
        w.ask(Ask::post("/images/register", json!({"image": "a:1", "cpu": "256"}))).assert_error(400, "");
        let whole = json!({"image": "whole:1", "is_default": false, "cpu": 1024, "memory": 2048,
            "runtime_platform": "Linux/ARM64", "task_role_name": "a", "task_execution_role_name": "b"});
        register(w, whole);
        let image = show(w, "whole:1");
        assert_eq!((&image["cpu"], &image["memory"]), (&json!(1024), &json!(2048)), "{image}");
        assert!(image["runtime_platform"].as_str().unwrap().eq_ignore_ascii_case("Linux/ARM64"), "{image}");
        assert_eq!(
            (&image["task_role_name"], &image["task_execution_role_name"]),
            (&json!("a"), &json!("b"))
        );
    }),
    scene("4.images.again", |w| {
        let before = listed(w).len();
        register(w, json!({"image": "golang:1.25"}));
        assert_eq!(listed(w).len(), before, "no duplicate");
    }),
    scene("4.images.unchecked", |w| register(w, json!({"image": "127.0.0.1:1/nobody/listens:1"}))),
    scene("4.images.fields", |w| {
        let image = show(w, "golang:1.25");
        assert_eq!(
            (&image["image"], &image["image_name"], &image["image_tag"]),
            (&json!("golang:1.25"), &json!("golang"), &json!("1.25"))
        );
        assert_eq!(
            (&image["cpu"], &image["memory"], &image["is_default"]),
            (&json!(256), &json!(512), &json!(false))
        );
        assert_eq!(
            (&image["created_by"], &image["owned_by"]),
            (&json!("admin@localhost"), &json!(["admin@localhost"]))
        );
        for field in [
            "image_id",
            "task_definition_name",
            "runtime_platform",
            "created_at",
            "created_by_request_id",
            "modified_by_request_id",
        ] {
            assert!(image[field].is_string(), "{field}: {image}");
        }
        assert!(listed(w).contains(&image), "a list has the same");
    }),
    scene("3.image-id", |w| {
        register(w, json!({"image": "ghcr.io/acme/tool:2"}));
        register(w, json!({"image": "ghcr.io/acme/tool:2", "cpu": 512}));
        register(w, json!({"image": "ghcr.io/acme/tool:2", "task_role_name": "deployer"}));
        let all = listed(w);
        let ids: Vec<_> = all
            .iter()
            .map(|image| image["image_id"].as_str().unwrap())
            .filter(|id| id.starts_with("acme/tool:2-"))
            .collect();
        assert_eq!(ids.len(), 3, "{ids:?}");
        let is_hash = |hash: &str| hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(ids.iter().all(|id| is_hash(id.strip_prefix("acme/tool:2-").unwrap())), "{ids:?}");
    }),
    scene("4.images.find", |w| {
        register(w, json!({"image": "ghcr.io/acme/found:3", "cpu": 512, "is_default": true}));
        register(w, json!({"image": "ghcr.io/acme/found:3"}));
        let default = show(w, "acme/found:3");
        assert_eq!(
            (&default["is_default"], &default["cpu"]),
            (&json!(true), &json!(512)),
            "the default wins"
        );
        for reference in ["ghcr.io/acme/found:3", "other.registry:5000/acme/found:3"] {
            assert_eq!(show(w, reference)["image_id"], default["image_id"], "{reference}");
        }
        let other = listed(w)
            .into_iter()
            .find(|it| it["image"] == "ghcr.io/acme/found:3" && it["cpu"] == 256)
            .unwrap();
        assert_eq!(show(w, other["image_id"].as_str().unwrap()), other, "by its id");
        register(w, json!({"image": "tagless"}));
        assert_eq!(show(w, "tagless:latest")["image"], "tagless");
        assert_eq!(show(w, "tagless")["image"], "tagless");
        w.ask(Ask::get("/images/nothing:9")).assert_error(404, "NOT_FOUND");
    }),
    scene("4.images.slashes", |w| {
        register(w, json!({"image": "ghcr.io/acme/deep/er:4"}));
        let bare = show(w, "ghcr.io/acme/deep/er:4");
        assert_eq!(show(w, "ghcr.io%2Facme%2Fdeep%2Fer%3A4"), bare);
        // Decoded once: what is still encoded then is no slash.
        w.ask(Ask::get("/images/ghcr.io%252Facme/deep/er:4")).assert_error(404, "NOT_FOUND");
    }),
    scene("4.images.delete", |w| {
        register(w, json!({"image": "ghcr.io/acme/gone:5", "is_default": false}));
        let id = show(w, "acme/gone:5")["image_id"].as_str().unwrap().to_owned();
        for other in ["ghcr.io/acme/gone:5", "acme/gone:5", "acme/gone"] {
            w.ask(Ask::delete(format!("/images/{other}"))).assert_error(400, "INVALID_REQUEST");
        }
        w.ask(Ask::delete("/images/acme/gone:5-00000000")).assert_error(404, "NOT_FOUND");
        let told = w.ask(Ask::delete(format!("/images/{id}")));
        told.assert_status(200);
        assert_eq!(
            (&told.json()["image"], &told.json()["message"]),
            (&json!(id), &json!("Image removed successfully"))
        );
        w.ask(Ask::delete(format!("/images/{id}"))).assert_error(404, "NOT_FOUND");
        register(w, json!({"image": "ghcr.io/acme/gone:5", "is_default": false}));
        let escaped = id.replace('/', "%2F");
        w.ask(Ask::delete(format!("/images/{escaped}"))).assert_status(200);
    }),
];
