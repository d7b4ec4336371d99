//! Makes the code of the tonic service, without a compiler of protocol buffers,
//! and keeps what the compiler calls itself.

use std::process::Command;

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let methods = [
        ("ready", "Ready"),
        ("yield_once", "YieldOnce"),
        ("sleep", "Sleep"),
        ("burn", "Burn"),
        ("wait", "Wait"),
    ];
    let service = Service::builder().name("Echo").package("benches");
    let service = methods.iter().fold(service, |service, (name, route)| {
        let method = Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::contenders::tonic::Echoed")
            .output_type("crate::contenders::tonic::Echoed")
            .codec_path("tonic_prost::ProstCodec")
            .build();
        service.method(method)
    });
    Builder::new().compile(&[service.build()]);
    tell_compiler();
}

/// The compiler's version, for the results.
fn tell_compiler() {
    let compiler = std::env::var_os("RUSTC").expect("Cargo sets it");
    let version = Command::new(compiler).arg("--version").output();
    let version = String::from_utf8(version.expect("it runs").stdout).expect("text");
    println!("cargo::rustc-env=BENCHES_RUSTC={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
