//! Repositories of the hub: by what is typed, by the page's address, and from this device.

use super::*;

const SITE: &str = "https://hub.example";

fn on_hub(name: &str) -> Remote {
    let repository = name.to_owned().try_into().unwrap();
    Remote::hub(repository, SITE.to_owned())
}

fn page(model: Option<&str>) -> Chat {
    let mut launch = Launch::default().with("hub", SITE);
    launch.model = model.map(str::to_owned);
    Chat::new(Settings::default(), launch)
}

/// The model that the commands load.
fn loaded(commands: &[Command]) -> &Remote {
    let Some(Command::Send(Request::Load {
        model: ModelRef::Remote(model),
        ..
    })) = commands.last()
    else {
        panic!("{commands:?}")
    };
    model
}

fn stored(model: Remote) -> Offer {
    Offer {
        model,
        stored: true,
    }
}

#[test]
fn what_is_typed_or_pasted_is_loaded() {
    for text in ["owner/name", " https://hub.example/owner/name/tree/main "] {
        let mut chat = page(None);
        let commands = chat.act(Action::LoadRepository(text.into()), 0.0);
        assert_eq!(*loaded(&commands), on_hub("owner/name"));
        assert!(matches!(&chat.model, Model::Loading(loading) if loading.name == "owner/name"));
    }
}

#[test]
fn what_is_no_name_is_said_and_nothing_is_sent() {
    let mut chat = page(None);
    assert_eq!(chat.act(Action::LoadRepository("gpt2".into()), 0.0), []);
    let banner = chat.banner.unwrap();
    assert!(banner.text.contains("owner/name"), "{}", banner.text);
    assert_eq!(banner.remedies, []);
    assert_eq!(chat.model, Model::Absent);
}

#[test]
fn the_address_names_a_repository() {
    for asked in ["owner/name@v2", "https://hub.example/owner/name/tree/v2"] {
        let mut chat = page(Some(asked));
        let commands = chat.act(Action::Start, 0.0);
        let site = SITE.to_owned();
        assert_eq!(commands, [Command::Send(Request::Catalog { site })]);
        // Not on this device: offered, and loaded only when the visitor says so.
        let models = vec![stored(remote())];
        assert_eq!(chat.apply(Event::Catalog { models }, 0.0), []);
        let Offers::Known(offers) = &chat.offers else {
            panic!("{:?}", chat.offers)
        };
        assert_eq!(offers[0].model, on_hub("owner/name@v2"));
        assert_eq!(offers.len(), 2);
    }
}

#[test]
fn a_repository_on_this_device_loads_by_itself_when_it_is_asked_for() {
    let models = vec![stored(remote()), stored(on_hub("owner/name"))];
    let event = Event::Catalog { models };
    let commands = page(Some("owner/name")).apply(event.clone(), 0.0);
    assert_eq!(*loaded(&commands), on_hub("owner/name"));
    let commands = page(None).apply(event, 0.0);
    assert_eq!(*loaded(&commands), remote());
}

#[test]
fn a_repository_that_was_loaded_is_offered_from_then_on() {
    let mut chat = page(None);
    let models = vec![stored(remote())];
    chat.apply(Event::Catalog { models }, 0.0);
    chat.act(Action::LoadRepository("owner/name".into()), 0.0);
    let id = chat.last_job;
    chat.apply(Event::Ready { id, info: info() }, 0.0);
    assert!(matches!(&chat.model, Model::Ready(info) if info.name == "owner/name"));
    let expected = vec![stored(remote()), stored(on_hub("owner/name"))];
    assert_eq!(chat.offers, Offers::Known(expected));
}

#[test]
fn a_model_can_be_let_go_for_another() {
    let mut chat = ready();
    let id = ask(&mut chat, "Hi", 0.0);
    token(&mut chat, id, "Hel", 1.0);
    let stop = Command::Send(Request::Stop { id });
    let unload = Command::Send(Request::Unload);
    assert_eq!(chat.act(Action::Unload, 0.0), [stop, unload]);
    assert_eq!(chat.model, Model::Absent);
    assert_eq!(
        transcript(&chat),
        [(Role::User, "Hi"), (Role::Assistant, "Hel")]
    );
    assert_eq!(chat.act(Action::Unload, 0.0), []);
}
