mod bench;
mod hub;
mod load;

use super::*;
use crate::protocol::{BUILD, BackendChoice, Phase, Place, Preferences, Remote, WebFile};

fn remote() -> Remote {
    Remote {
        id: "tiny".into(),
        name: "Tiny".into(),
        place: Place::Files {
            files: vec![WebFile {
                url: "models/tiny.gguf".into(),
                bytes: Some(1000),
                ..WebFile::default()
            }],
        },
        ..Remote::file("models/tiny.gguf")
    }
}

fn info() -> Info {
    Info {
        name: "Tiny".into(),
        architecture: "llama".into(),
        n_parameters: 1,
        weight_bytes: 1,
        context: 2048,
        max_context: 8192,
        backend: "CPU".into(),
        backend_reason: None,
        found: None,
        has_template: true,
        recommended: Preferences::default(),
        dispatches_per_token: None,
        memory_bytes: 0,
    }
}

fn fresh() -> Chat {
    Chat::new(Settings::default(), Launch::default())
}

/// A chat with a loaded model.
fn ready() -> Chat {
    let mut chat = fresh();
    let commands = chat.act(Action::Load(ModelRef::Remote(remote())), 0.0);
    let Some(Command::Send(Request::Load { id, .. })) = commands.last() else {
        panic!("{commands:?}")
    };
    chat.apply(
        Event::Ready {
            id: *id,
            info: info(),
        },
        0.0,
    );
    assert!(matches!(chat.model, Model::Ready(_)));
    chat
}

/// Asks, and returns the job's number.
fn ask(chat: &mut Chat, text: &str, now_ms: f64) -> JobId {
    let commands = chat.act(Action::Submit(text.into()), now_ms);
    assert_eq!(commands[0], Command::ClearDraft);
    let Some(Command::Send(Request::Generate { id, .. })) = commands.last() else {
        panic!("{commands:?}")
    };
    *id
}

fn token(chat: &mut Chat, id: JobId, text: &str, now_ms: f64) {
    chat.apply(
        Event::Text {
            id,
            text: text.into(),
            n_pieces: 1,
        },
        now_ms,
    );
}

fn transcript(chat: &Chat) -> Vec<(Role, &str)> {
    chat.messages
        .iter()
        .map(|m| (m.role, m.text.as_str()))
        .collect()
}

#[test]
fn an_answer_streams_and_ends_with_figures() {
    let mut chat = ready();
    let id = ask(&mut chat, "Hi", 1000.0);
    chat.apply(
        Event::Prefill {
            id,
            done: 3,
            total: 9,
        },
        1100.0,
    );
    assert_eq!(chat.answer.as_ref().unwrap().prefill, Some((3, 9)));
    chat.apply(Event::Reading { id, n_prompt: 9 }, 1100.0);
    for i in 0..10 {
        token(&mut chat, id, "a", 1200.0 + 50.0 * f64::from(i));
    }
    assert_eq!(chat.figures.first_token_ms, Some(200.0));
    assert_eq!(chat.figures.context_used, Some(19));
    assert_eq!(chat.figures.tokens_per_second, Some(20.0));
    let stats = Stats {
        n_prompt: 9,
        n_generated: 10,
        decode_ms: 400.0,
        ..Stats::default()
    };
    chat.apply(
        Event::Done {
            id,
            reason: Reason::EndOfText,
            stats,
        },
        1800.0,
    );
    assert_eq!(
        transcript(&chat),
        [(Role::User, "Hi"), (Role::Assistant, "aaaaaaaaaa")]
    );
    assert_eq!(chat.figures.context_used, Some(19));
    assert_eq!(chat.figures.tokens_per_second, Some(25.0));
    assert_eq!(chat.answer, None);
    assert_eq!(chat.why_not_ask(), None);
}

#[test]
fn the_conversation_and_the_system_prompt_are_sent() {
    let mut chat = ready();
    chat.settings.system_prompt = " Be brief. ".into();
    let id = ask(&mut chat, "One\n", 0.0);
    token(&mut chat, id, "1", 0.0);
    chat.apply(
        Event::Done {
            id,
            reason: Reason::EndOfText,
            stats: Stats::default(),
        },
        0.0,
    );
    let commands = chat.act(Action::Submit("Two".into()), 0.0);
    let Command::Send(Request::Generate { messages, .. }) = &commands[1] else {
        panic!("{commands:?}")
    };
    let sent: Vec<_> = messages
        .iter()
        .map(|t| (t.role, t.content.as_str()))
        .collect();
    assert_eq!(
        sent,
        [
            (Role::System, "Be brief."),
            (Role::User, "One"),
            (Role::Assistant, "1"),
            (Role::User, "Two")
        ]
    );
}

#[test]
fn events_of_abandoned_jobs_change_nothing() {
    let mut chat = ready();
    let old = ask(&mut chat, "Old", 0.0);
    token(&mut chat, old, "old", 0.0);
    assert_eq!(
        chat.act(Action::NewChat, 0.0),
        [Command::Send(Request::Stop { id: old })]
    );
    let new = ask(&mut chat, "New", 0.0);
    let before = chat.clone();
    token(&mut chat, old, " more", 0.0);
    chat.apply(
        Event::Done {
            id: old,
            reason: Reason::Stopped,
            stats: Stats::default(),
        },
        0.0,
    );
    chat.apply(
        Event::Failed {
            id: old,
            message: "x".into(),
            model_usable: false,
        },
        0.0,
    );
    chat.apply(
        Event::Ready {
            id: old,
            info: info(),
        },
        0.0,
    );
    assert_eq!(chat, before);
    token(&mut chat, new, "new", 0.0);
    assert_eq!(
        transcript(&chat),
        [(Role::User, "New"), (Role::Assistant, "new")]
    );
}

#[test]
fn stop_keeps_the_text() {
    let mut chat = ready();
    let id = ask(&mut chat, "Hi", 0.0);
    token(&mut chat, id, "Hel", 0.0);
    assert_eq!(
        chat.act(Action::Stop, 0.0),
        [Command::Send(Request::Stop { id })]
    );
    assert!(chat.answer.as_ref().unwrap().stopping);
    // What was under way when the button was pressed still counts.
    token(&mut chat, id, "lo", 0.0);
    chat.apply(
        Event::Done {
            id,
            reason: Reason::Stopped,
            stats: Stats::default(),
        },
        0.0,
    );
    assert_eq!(chat.text(chat.messages[1].key), Some("Hello"));
    assert_eq!(chat.messages[1].end, Some(Ending::Reason(Reason::Stopped)));
    assert_eq!(chat.act(Action::Stop, 0.0), []);
}

#[test]
fn stop_before_the_first_token_leaves_the_question_to_answer_again() {
    let mut chat = ready();
    let id = ask(&mut chat, "Hi", 0.0);
    chat.apply(
        Event::Done {
            id,
            reason: Reason::Stopped,
            stats: Stats::default(),
        },
        0.0,
    );
    assert_eq!(transcript(&chat), [(Role::User, "Hi")]);
    assert!(matches!(
        chat.act(Action::AnswerAgain, 0.0)[..],
        [Command::Send(Request::Generate { .. })]
    ));
}

#[test]
fn a_failure_keeps_what_was_typed_and_what_was_generated() {
    let mut chat = ready();
    let id = ask(&mut chat, "Hi", 0.0);
    token(&mut chat, id, "Hel", 0.0);
    chat.apply(
        Event::Failed {
            id,
            message: "the GPU stopped working".into(),
            model_usable: false,
        },
        0.0,
    );
    assert_eq!(
        transcript(&chat),
        [(Role::User, "Hi"), (Role::Assistant, "Hel")]
    );
    assert_eq!(chat.model, Model::Absent);
    let banner = chat.banner.clone().unwrap();
    assert_eq!(banner.text, "The GPU stopped working.");
    assert_eq!(banner.remedies, [Remedy::LoadAgain, Remedy::UseCpu]);
    // A question that cannot be asked stays in the composer.
    assert_eq!(chat.act(Action::Submit("more".into()), 0.0), []);
    let commands = chat.act(Action::Remedy(Remedy::UseCpu), 0.0);
    assert!(matches!(
        commands[..],
        [Command::Send(Request::Load {
            backend: BackendChoice::Cpu,
            ..
        })]
    ));
    assert_eq!(transcript(&chat).len(), 2);
}

#[test]
fn a_question_that_failed_can_be_tried_again_or_edited() {
    let mut chat = ready();
    let id = ask(&mut chat, "Too long", 0.0);
    chat.apply(
        Event::Failed {
            id,
            message: "a.gguf has no room".into(),
            model_usable: true,
        },
        0.0,
    );
    assert_eq!(transcript(&chat), [(Role::User, "Too long")]);
    assert_eq!(
        chat.banner.as_ref().unwrap().remedies,
        [Remedy::AnswerAgain]
    );
    assert_eq!(chat.banner.as_ref().unwrap().text, "a.gguf has no room.");
    let again = chat.clone().act(Action::Remedy(Remedy::AnswerAgain), 0.0);
    assert!(matches!(
        again[..],
        [Command::Send(Request::Generate { .. })]
    ));
    let key = chat.messages[0].key;
    assert_eq!(
        chat.act(Action::Edit(key), 0.0),
        [Command::Draft("Too long".into())]
    );
    assert_eq!((chat.messages.len(), &chat.banner), (0, &None));
}

#[test]
fn a_crash_keeps_the_transcript_and_loads_again() {
    let mut chat = ready();
    let id = ask(&mut chat, "Hi", 0.0);
    token(&mut chat, id, "Hel", 0.0);
    assert_eq!(
        chat.apply(
            Event::Crashed {
                message: "boom".into()
            },
            0.0
        ),
        [Command::DropWorker]
    );
    assert_eq!(
        transcript(&chat),
        [(Role::User, "Hi"), (Role::Assistant, "Hel")]
    );
    assert!(chat.banner.as_ref().unwrap().text.contains("boom"));
    let commands = chat.act(Action::Remedy(Remedy::LoadAgain), 0.0);
    assert!(matches!(
        commands[..],
        [Command::Send(Request::Load { .. })]
    ));
}

#[test]
fn answering_again_replaces_the_last_answer() {
    let mut chat = ready();
    let id = ask(&mut chat, "Hi", 0.0);
    token(&mut chat, id, "bad", 0.0);
    assert_eq!(
        chat.act(Action::AnswerAgain, 0.0),
        [],
        "not while one is being written"
    );
    chat.apply(
        Event::Done {
            id,
            reason: Reason::EndOfText,
            stats: Stats::default(),
        },
        0.0,
    );
    let commands = chat.act(Action::AnswerAgain, 0.0);
    let [Command::Send(Request::Generate { messages, .. })] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert_eq!(messages.len(), 1);
    assert_eq!(
        transcript(&chat),
        [(Role::User, "Hi"), (Role::Assistant, "")]
    );
}

#[test]
fn blank_text_is_not_asked() {
    let mut chat = ready();
    assert_eq!(chat.act(Action::Submit(" \n".into()), 0.0), []);
    assert!(chat.messages.is_empty());
}
