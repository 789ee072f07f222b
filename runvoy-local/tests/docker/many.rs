//! Many at once.

use runvoy_core::port::Executor;
use runvoy_core::testing::executor::exit;

use crate::support::{Containers, docker_text, shell};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_all_end_and_leave_nothing() {
    let networks = || docker_text(&["network", "ls", "--quiet"]).lines().count();
    let containers = Containers::new().await;
    let before = networks();
    let mut tasks: Vec<_> = (0..100).map(|n| shell(format!("echo {n}; exit {}", n % 50))).collect();
    for task in &mut tasks {
        task.request.container.network = Some("none".to_owned());
        containers.executor.start(task).await.unwrap();
    }
    for (n, task) in tasks.iter().enumerate() {
        let code = i32::try_from(n % 50).unwrap();
        let end = loop {
            // Patience is for one of them; here the last one waits for all others.
            let state = runvoy_core::testing::executor::describe(&*containers.executor, task.id).await;
            match state {
                runvoy_core::port::TaskState::Pending | runvoy_core::port::TaskState::Running { .. } => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                _ => break exit(&*containers.executor, task.id).await,
            }
        };
        assert_eq!(end.exit_code, Some(code));
        assert_eq!(containers.log(task.id).await[0], format!("{n}\n").into_bytes());
    }
    containers.must_be_empty();
    assert_eq!(networks(), before);
}
