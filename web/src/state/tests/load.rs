use super::*;

#[test]
fn a_load_shows_share_and_speed() {
    let mut chat = fresh();
    chat.act(Action::Load(ModelRef::Remote(remote())), 0.0);
    for i in 0..=10_u32 {
        let done_bytes = u64::from(i) * 50;
        let event = Event::Progress {
            id: 1,
            phase: Phase::Downloading,
            done_bytes,
            total_bytes: None,
        };
        chat.apply(event, 1000.0 * f64::from(i));
    }
    let Model::Loading(loading) = &chat.model else {
        panic!()
    };
    assert_eq!(loading.fraction(), Some(0.5));
    assert_eq!(loading.bytes_per_second(), Some(50.0));
}

#[test]
fn a_model_is_called_what_the_catalog_calls_it() {
    let mut chat = fresh();
    chat.act(Action::Load(ModelRef::Remote(remote())), 0.0);
    let name = "smol 8k mix1".to_owned();
    chat.apply(
        Event::Ready {
            id: 1,
            info: Info { name, ..info() },
        },
        0.0,
    );
    let Model::Ready(info) = &chat.model else {
        panic!("{:?}", chat.model)
    };
    assert_eq!(info.name, "Tiny");
}

#[test]
fn a_cancelled_load_is_over_at_once() {
    let mut chat = fresh();
    chat.act(Action::Load(ModelRef::Remote(remote())), 0.0);
    assert_eq!(
        chat.act(Action::CancelLoad, 0.0),
        [Command::Send(Request::Stop { id: 1 })]
    );
    let before = chat.clone();
    chat.apply(
        Event::Progress {
            id: 1,
            phase: Phase::Loading,
            done_bytes: 5,
            total_bytes: None,
        },
        0.0,
    );
    chat.apply(
        Event::Ready {
            id: 1,
            info: info(),
        },
        0.0,
    );
    assert_eq!(chat, before);
    assert_eq!(chat.model, Model::Absent);
}

#[test]
fn a_stored_model_loads_by_itself_once() {
    let offer = |stored| Event::Catalog {
        models: vec![Offer {
            model: remote(),
            stored,
        }],
    };
    let mut chat = fresh();
    assert_eq!(chat.apply(offer(false), 0.0), []);
    let mut chat = fresh();
    assert!(matches!(
        chat.apply(offer(true), 0.0)[..],
        [Command::Send(Request::Load { .. })]
    ));
    chat.act(Action::CancelLoad, 0.0);
    assert_eq!(chat.apply(offer(true), 0.0), []);
}

#[test]
fn the_model_that_comes_with_the_page_loads_by_itself() {
    let bundled = Remote {
        id: "bundled".into(),
        about: Some("Very small.".into()),
        bundled: true,
        ..Remote::file("models/bundled.gguf")
    };
    let loaded = |launch: Launch, other_is_stored| {
        let offer = |model: &Remote, stored| Offer {
            model: model.clone(),
            stored,
        };
        let models = vec![offer(&bundled, false), offer(&remote(), other_is_stored)];
        let mut chat = Chat::new(Settings::default(), launch);
        match &chat.apply(Event::Catalog { models }, 0.0)[..] {
            [Command::Send(Request::Load { model, .. })] => model.name().to_owned(),
            commands => {
                assert_eq!(commands, []);
                assert_eq!(chat.model, Model::Absent);
                "none".to_owned()
            }
        }
    };
    let visit = Launch::default;
    assert_eq!(loaded(visit(), false), "bundled");
    assert_eq!(loaded(visit(), true), "bundled");
    assert_eq!(loaded(visit().with("autoload", "0"), true), "none");
    // A visitor who asks for another is not given this one.
    let remote = remote();
    assert_eq!(loaded(visit().with("model", &remote.id), false), "none");
    let last_model = Some(remote.id.clone());
    let again = Launch {
        last_model,
        ..visit()
    };
    assert_eq!(loaded(again.clone(), true), remote.name);
    assert_eq!(loaded(again, false), "bundled");
}

#[test]
fn what_the_catalog_says_of_a_model_is_known_once_it_is_asked_for() {
    let mut chat = fresh();
    assert_eq!(chat.about(), None);
    let about = Some("Very small.".to_owned());
    let model = Remote { about, ..remote() };
    chat.act(Action::Load(ModelRef::Remote(model)), 0.0);
    assert_eq!(chat.about(), Some("Very small."));
    let (name, bytes) = ("a.gguf".into(), 9);
    chat.act(Action::Load(ModelRef::Local { name, bytes }), 0.0);
    assert_eq!(chat.about(), None);
}

#[test]
fn the_model_of_the_last_visit_loads_by_itself_as_long_as_it_is_stored() {
    let other = Remote {
        id: "other".into(),
        ..Remote::file("models/other.gguf")
    };
    let loaded = |launch: Launch, stored| {
        let first = Offer {
            model: remote(),
            stored: true,
        };
        let second = Offer {
            model: other.clone(),
            stored,
        };
        let models = vec![first, second];
        let mut chat = Chat::new(Settings::default(), launch);
        let commands = chat.apply(Event::Catalog { models }, 0.0);
        let [Command::Send(Request::Load { id, model, .. })] = &commands[..] else {
            panic!("{commands:?}")
        };
        let ready = Event::Ready {
            id: *id,
            info: info(),
        };
        let ModelRef::Remote(remote) = model else {
            panic!("{model:?}")
        };
        assert_eq!(
            chat.apply(ready, 0.0),
            [Command::SaveModel(remote.id.clone())]
        );
        remote.id.clone()
    };
    let last = Launch {
        last_model: Some("other".into()),
        ..Launch::default()
    };
    assert_eq!(loaded(last.clone(), true), "other");
    assert_eq!(loaded(last.clone(), false), "tiny");
    assert_eq!(loaded(last.with("model", "tiny"), true), "tiny");
    assert_eq!(loaded(Launch::default(), true), "tiny");
}

#[test]
fn the_address_chooses_model_and_backend() {
    let launch = Launch::default()
        .with("model", "../my/model.gguf")
        .with("autoload", "")
        .with("backend", "gpu");
    let mut chat = Chat::new(Settings::default(), launch);
    let commands = chat.apply(
        Event::NoCatalog {
            message: "offline".into(),
        },
        0.0,
    );
    let [
        Command::Send(Request::Load {
            model: ModelRef::Remote(model),
            backend,
            ..
        }),
    ] = &commands[..]
    else {
        panic!("{commands:?}")
    };
    assert_eq!(*model, Remote::file("../my/model.gguf"));
    assert_eq!(model.name, "model");
    assert_eq!(*backend, BackendChoice::Gpu);
}

#[test]
fn without_a_catalog_the_page_says_so_and_files_still_open() {
    let mut chat = fresh();
    chat.apply(
        Event::NoCatalog {
            message: "The list is gone.".into(),
        },
        0.0,
    );
    assert_eq!(chat.offers, Offers::Unknown("The list is gone.".into()));
    let commands = chat.act(
        Action::Load(ModelRef::Local {
            name: "a.gguf".into(),
            bytes: 9,
        }),
        0.0,
    );
    assert!(matches!(
        commands[..],
        [Command::Send(Request::Load { .. })]
    ));
}

#[test]
fn backend_and_context_load_the_model_again() {
    let mut chat = ready();
    let mut settings = chat.settings.clone();
    settings.sampling.temperature = Some(1.0);
    assert_eq!(
        chat.act(Action::Settings(settings.clone()), 0.0),
        [Command::SaveSettings]
    );
    settings.context = 4096;
    let commands = chat.act(Action::Settings(settings), 0.0);
    assert!(matches!(
        commands[..],
        [
            Command::SaveSettings,
            Command::Send(Request::Load { context: 4096, .. })
        ]
    ));
}

#[test]
fn words_are_chosen_as_the_author_recommends_and_the_visitor_prefers() {
    let mut chat = fresh();
    assert_eq!(chat.sampling(), Sampling::default());
    chat.settings.sampling.top_k = Some(7);
    chat.model = Model::Ready(Info {
        recommended: Preferences {
            temperature: Some(0.0),
            top_k: Some(1),
            repetition_penalty: Some(99.0),
            ..Preferences::default()
        },
        ..info()
    });
    let expected = Sampling {
        temperature: 0.0,
        top_k: 7,
        repetition_penalty: 2.0,
        ..Sampling::default()
    };
    assert_eq!(chat.sampling(), expected);
}

#[test]
fn a_worker_of_another_version_is_noticed() {
    let mut chat = fresh();
    chat.apply(
        Event::Hello {
            build: BUILD.into(),
        },
        0.0,
    );
    assert_eq!(chat.banner, None);
    chat.apply(
        Event::Hello {
            build: "0.0.0-old".into(),
        },
        0.0,
    );
    assert_eq!(chat.banner.unwrap().remedies, [Remedy::ReloadPage]);
}
