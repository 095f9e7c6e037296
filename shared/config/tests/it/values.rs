use std::time::Duration;

use lore_config::{Backend, ByteSize, Config, Device, Secret};

use crate::{load, options};

#[test]
fn sizes_read_binary_and_decimal_units() {
    let parse = |text: &str| text.parse::<ByteSize>().map(ByteSize::bytes);
    assert_eq!(parse("256 MiB"), Ok(268_435_456));
    assert_eq!(parse("2gb"), Ok(2_000_000_000));
    assert_eq!(parse("1_024"), Ok(1024));
    assert!(
        parse("MiB").is_err() && parse("1 league").is_err() && parse("99999999999 TiB").is_err()
    );
}

#[test]
fn a_size_prints_as_it_is_written() {
    for text in ["256 MiB", "2 GiB", "1000 B", "0 B", "3 KiB"] {
        assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
    }
}

#[test]
fn durations_carry_their_unit() {
    let config = load("[server]\nshutdown_grace = \"1m 30s\"\n").unwrap();
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(90));
}

#[test]
fn a_secret_cannot_be_printed() {
    let secret = Secret::new("swordfish");
    let printed = [
        format!("{secret}"),
        format!("{secret:?}"),
        serde_json::to_string(&secret).unwrap(),
    ];
    assert!(
        printed.iter().all(|text| !text.contains("swordfish")),
        "{printed:?}"
    );
    assert!(
        secret.matches("swordfish") && !secret.matches("swordfisH") && !secret.matches("sword")
    );
}

#[test]
fn no_secret_shows_in_a_loaded_configuration() {
    let text = "
[server]
api_keys = [\"swordfish\"]
[dense]
backend = \"server\"
url = \"http://127.0.0.1:6334/\"
api_key = \"swordfish\"
[generator]
backend = \"openai\"
base_url = \"http://127.0.0.1:8000/v1/\"
model = \"m\"
api_key = \"swordfish\"
";
    let config = load(text).unwrap();
    assert!(!format!("{config:?}").contains("swordfish"));
    let Backend::OpenAi {
        base_url, api_key, ..
    } = config.generator.backend
    else {
        panic!("not openai")
    };
    assert_eq!(base_url, "http://127.0.0.1:8000/v1");
    assert_eq!(api_key.unwrap().expose(), "swordfish");
}

#[test]
fn several_keys_come_from_one_variable() {
    let config = Config::load(options().env([("LORE_API_KEY", "one, two")])).unwrap();
    let keys: Vec<&str> = config.server.api_keys.iter().map(Secret::expose).collect();
    assert_eq!(keys, ["one", "two"]);
}

#[test]
fn automatic_threads_are_at_least_one() {
    assert!(Config::load(options()).unwrap().models.threads.get() >= 1);
    let three = Config::load(options().flag("--threads", "models.threads", "3")).unwrap();
    assert_eq!(three.models.threads.get(), 3);
}

#[test]
fn a_device_is_chosen_by_its_name() {
    let device = |text: &str| {
        load(&format!("[models]\ndevice = \"{text}\"\n")).map(|config| config.models.device)
    };
    assert_eq!(Config::load(options()).unwrap().models.device, Device::Auto);
    assert_eq!(device("cpu").unwrap(), Device::Cpu);
    assert_eq!(device("cuda").unwrap(), Device::Cuda);
    let error = device("gpu").unwrap_err();
    let problem = &error.problems()[0];
    assert!(problem.key.contains("models.device"), "{problem:?}");
    assert!(problem.remedy.contains("cuda"), "{problem:?}");
}
