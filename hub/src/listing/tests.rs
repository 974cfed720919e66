use super::*;
use crate::SITE;

fn listing(names: &[&str]) -> Listing {
    Listing::of_names("c0ffee".into(), names.iter().map(|name| (*name).to_owned()))
}

fn choose(repository: &str, index: Option<&str>, names: &[&str]) -> Result<Vec<String>, String> {
    let repository = Repository::parse(repository, SITE)?;
    let chosen = listing(names).choose(&repository, index)?;
    Ok(chosen.into_iter().map(|file| file.name).collect())
}

#[test]
fn the_hubs_answer_is_read() {
    let json = r#"{"id":"o/n","sha":"abc","private":false,"gated":false,"tags":[],"siblings":[
        {"rfilename":"config.json","size":700,"blobId":"1f"},
        {"rfilename":"model.safetensors","size":9,"lfs":{"sha256":"ff00","size":12,"pointerSize":134}},
        {"rfilename":"onnx/model.onnx"}]}"#;
    let listing = Listing::parse(json).unwrap();
    assert_eq!((listing.commit.as_str(), listing.gated), ("abc", false));
    let weights = &listing.files[1];
    assert_eq!(
        (weights.bytes, weights.sha256.as_deref()),
        (Some(12), Some("ff00"))
    );
    assert_eq!(
        (listing.files[0].bytes, listing.files[2].bytes),
        (Some(700), None)
    );
    assert!(
        Listing::parse(r#"{"sha":"a","gated":"manual","siblings":[]}"#)
            .unwrap()
            .gated
    );
    for bad in ["", "[]", r#"{"siblings":[]}"#, "<!doctype html>"] {
        assert!(Listing::parse(bad).unwrap_err().contains("list of files"));
    }
    let hostile = r#"{"sha":"../..","siblings":[]}"#;
    assert!(Listing::parse(hostile).unwrap_err().contains("no commit"));
    let hostile = r#"{"sha":"a","siblings":[{"rfilename":"../model.gguf"},{"rfilename":"/a"},{"rfilename":"a\\b"}]}"#;
    assert_eq!(Listing::parse(hostile).unwrap().files, []);
}

#[test]
fn weights_and_what_describes_them_are_chosen() {
    let names = [
        ".gitattributes",
        "README.md",
        "config.json",
        "flax_model.msgpack",
        "model.safetensors",
        "onnx/model.onnx",
        "optimizer.bin",
        "pytorch_model.bin",
        "sub/model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(
        choose("o/n", None, &names).unwrap(),
        ["config.json", "tokenizer.json", "model.safetensors"]
    );
    // A missing config.json is for the engine to judge.
    let bare = ["inference.py", "model.safetensors", "tokenizer.json"];
    assert_eq!(
        choose("o/n", None, &bare).unwrap(),
        ["tokenizer.json", "model.safetensors"]
    );
    let pickle = ["config.json", "pytorch_model.bin", "training_args.bin"];
    assert_eq!(
        choose("o/n", None, &pickle).unwrap(),
        ["config.json", "pytorch_model.bin"]
    );
    let other_name = [
        "config.json",
        "adapter_model.safetensors",
        "weights.safetensors",
    ];
    assert_eq!(
        choose("o/n", None, &other_name).unwrap(),
        ["config.json", "weights.safetensors"]
    );
}

#[test]
fn an_index_names_the_weight_files() {
    let index = r#"{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-1.safetensors"}}"#;
    let names = [
        "config.json",
        "m-1.safetensors",
        "m-2.safetensors",
        "m-3.safetensors",
        "model.safetensors.index.json",
    ];
    let repository = Repository::parse("o/n", SITE).unwrap();
    let file = listing(&names).index(&repository).map(|f| f.name.clone());
    assert_eq!(file.as_deref(), Some("model.safetensors.index.json"));
    assert_eq!(
        choose("o/n", Some(index), &names).unwrap(),
        [
            "config.json",
            "model.safetensors.index.json",
            "m-1.safetensors",
            "m-2.safetensors"
        ]
    );
    let left_over = ["model.safetensors", "model.safetensors.index.json"];
    assert_eq!(
        choose("o/n", Some(index), &left_over).unwrap(),
        ["model.safetensors"]
    );
    let torn = ["m-1.safetensors", "model.safetensors.index.json"];
    let sentence = choose("o/n", Some(index), &torn).unwrap_err();
    assert!(sentence.contains("m-2.safetensors"), "{sentence}");
    assert!(
        choose("o/n", Some("{}"), &torn)
            .unwrap_err()
            .contains("cannot be read")
    );
}

#[test]
fn of_several_ggufs_one_is_preferred_or_all_are_named() {
    let files = [
        "m-Q8_0.gguf",
        "m-q4_0.gguf",
        "m-Q4_K_M.gguf",
        "mmproj-f16.gguf",
    ];
    assert_eq!(choose("o/n", None, &files).unwrap(), ["m-q4_0.gguf"]);
    assert_eq!(
        choose("o/n", None, &["m.gguf", "config.json"]).unwrap(),
        ["m.gguf"]
    );
    assert_eq!(
        choose("o/n/m-Q8_0.gguf", None, &files).unwrap(),
        ["m-Q8_0.gguf"]
    );
    let unclear = ["m-Q4_0_4_4.gguf", "m-Q4_K_M.gguf"];
    let sentence = choose("o/n@v1", None, &unclear).unwrap_err();
    assert!(
        sentence.contains("m-Q4_0_4_4.gguf, m-Q4_K_M.gguf"),
        "{sentence}"
    );
    assert!(sentence.ends_with("o/n@v1/m-Q4_0_4_4.gguf"), "{sentence}");
    let two = ["a-q8_0.gguf", "b-q8_0.gguf", "c-f16.gguf"];
    assert!(
        choose("o/n", None, &two)
            .unwrap_err()
            .contains("b-q8_0.gguf")
    );
}

#[test]
fn without_weights_the_sentence_says_what_there_is() {
    let mut names = vec![".gitattributes".to_owned(), "README.md".to_owned()];
    names.extend((0..20).map(|i| format!("onnx/{i}.onnx")));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let sentence = choose("o/n", None, &names).unwrap_err();
    assert!(sentence.contains("README.md, onnx/0.onnx"), "{sentence}");
    assert!(sentence.ends_with("and 9 more"), "{sentence}");
    assert!(choose("o/n", None, &[]).unwrap_err().ends_with("no files"));
    let sentence = choose("o/n/x.gguf", None, &["y.gguf"]).unwrap_err();
    assert!(
        sentence.contains("no file x.gguf; it has y.gguf"),
        "{sentence}"
    );
}
