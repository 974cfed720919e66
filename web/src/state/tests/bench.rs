use super::*;
use crate::protocol::{Report, Table};

fn report() -> Report {
    Report {
        tables: vec![Table {
            columns: vec!["Tiny".into()],
            rows: vec![],
        }],
        left_out: vec![],
        text: "Tiny".into(),
        json: "{}".into(),
    }
}

/// Presses "Run", and returns the job's number.
fn measure(chat: &mut Chat) -> JobId {
    match chat.act(Action::Measure, 0.0)[..] {
        [Command::Send(Request::Measure { id })] => id,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn measuring_needs_a_model_and_keeps_questions_out() {
    let mut chat = fresh();
    assert_eq!(chat.act(Action::Measure, 0.0), vec![]);
    let mut chat = ready();
    let id = measure(&mut chat);
    assert_eq!(chat.act(Action::Measure, 0.0), vec![]);
    assert_eq!(chat.act(Action::Submit("Hi".into()), 0.0), vec![]);
    let (step, done, total) = ("memory".to_owned(), 0, 9);
    chat.apply(
        Event::Measuring {
            id,
            step,
            done,
            total,
        },
        0.0,
    );
    let running = chat.bench.running.as_ref().unwrap();
    assert_eq!((running.step.as_str(), running.total), ("memory", 9));
    let report = report();
    chat.apply(Event::Measured { id, report }, 0.0);
    assert_eq!(chat.bench.running, None);
    assert!(chat.bench.report.is_some());
    ask(&mut chat, "Hi", 0.0);
    assert_eq!(chat.act(Action::Measure, 0.0), vec![]);
}

#[test]
fn measuring_can_be_stopped_and_fails_without_harm() {
    let mut chat = ready();
    let id = measure(&mut chat);
    let commands = chat.act(Action::StopMeasuring, 0.0);
    assert_eq!(commands, vec![Command::Send(Request::Stop { id })]);
    chat.apply(Event::Stopped { id }, 0.0);
    assert_eq!(chat.bench, Bench::default());
    assert!(matches!(chat.model, Model::Ready(_)));

    let id = measure(&mut chat);
    let message = "the GPU was lost".to_owned();
    let failed = Event::Failed {
        id,
        message,
        model_usable: false,
    };
    chat.apply(failed, 0.0);
    assert_eq!((&chat.bench.running, &chat.model), (&None, &Model::Absent));
    let remedies = chat.banner.unwrap().remedies;
    assert_eq!(remedies, [Remedy::LoadAgain, Remedy::UseCpu]);
}

#[test]
fn another_model_ends_the_measurement() {
    let mut chat = ready();
    let id = measure(&mut chat);
    let commands = chat.act(Action::Load(ModelRef::Remote(remote())), 0.0);
    assert_eq!(commands[0], Command::Send(Request::Stop { id }));
    let report = report();
    chat.apply(Event::Measured { id, report }, 0.0);
    assert_eq!(chat.bench, Bench::default());
}
