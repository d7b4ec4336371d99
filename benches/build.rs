//! Makes the code of the tonic service, without a compiler of protocol buffers.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let methods = [
        ("ready", "Ready"),
        ("yield_once", "YieldOnce"),
        ("sleep", "Sleep"),
        ("burn", "Burn"),
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
}
