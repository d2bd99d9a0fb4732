//! A client of the CRI, `runtime.v1`: one call at a time, each with a time limit.

use std::path::PathBuf;
use std::sync::Arc;

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{ImageSpec, ImageStatusRequest, StatusRequest};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::harness::{limit, until};
use crate::image::{IMAGE, PAUSE};
use crate::place::Place;

/// The calls of the CRI's runtime service.
pub(crate) type Service = RuntimeServiceClient<Channel>;

/// An engine that speaks the CRI, as one test sees it.
pub(crate) struct Cri {
    pub(crate) place: Arc<Place>,
    /// The runtime's state root below this engine.
    pub(crate) root: &'static str,
    socket: &'static str,
    runtime: Runtime,
    service: Service,
    images: ImageServiceClient<Channel>,
}

impl Cri {
    /// Connects to the socket of an engine, and waits until it can run pods: until it has a network and the images.
    #[track_caller]
    pub(crate) fn open(place: Arc<Place>, socket: &'static str, root: &'static str) -> Cri {
        let path: PathBuf = place.inside(socket);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        let (service, images) =
            (RuntimeServiceClient::new(channel.clone()), ImageServiceClient::new(channel));
        let cri = Cri { place, root, socket, runtime, service, images };
        cri.wait();
        cri
    }

    /// Waits until the engine is ready, the first time or again.
    #[track_caller]
    pub(crate) fn wait(&self) {
        let mut last = String::new();
        let ready = until(60, || {
            last = self.unready();
            last.is_empty()
        });
        assert!(ready, "{}: not ready: {last}", self.socket);
    }

    /// Another connection, for another thread.
    pub(crate) fn again(&self) -> Cri {
        Cri::open(self.place.clone(), self.socket, self.root)
    }

    /// Whether it puts a monitor between itself and the runtime, as CRI-O does.
    pub(crate) fn has_monitors(&self) -> bool {
        self.socket.contains("crio")
    }

    /// What is not ready yet.
    fn unready(&self) -> String {
        let asked = self.call(async |mut cri| cri.status(StatusRequest { verbose: false }).await);
        let conditions = match asked {
            Err(status) => return status.message().to_owned(),
            Ok(answer) => answer.status.unwrap_or_default().conditions,
        };
        let unready = conditions.iter().filter(|it| !it.status);
        let unready = unready.map(|it| format!("{}: {}", it.r#type, it.message));
        // What was imported is seen a moment later.
        let missing =
            [IMAGE, PAUSE].into_iter().filter(|image| !self.has(image)).map(|it| format!("no {it}"));
        unready.chain(missing).collect::<Vec<_>>().join("; ")
    }

    fn has(&self, image: &str) -> bool {
        let image = Some(ImageSpec { image: image.into(), ..Default::default() });
        let mut images = self.images.clone();
        let asked = self.runtime.block_on(images.image_status(ImageStatusRequest { image, verbose: false }));
        asked.is_ok_and(|answer| answer.into_inner().image.is_some())
    }

    /// Asks, and returns the answer or what went wrong.
    pub(crate) fn call<T>(
        &self,
        ask: impl AsyncFnOnce(Service) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        let service = self.service.clone();
        self.runtime.block_on(async {
            let answer = tokio::time::timeout(limit(60), ask(service)).await;
            answer.unwrap_or_else(|_| Err(Status::cancelled("no answer in time"))).map(Response::into_inner)
        })
    }

    /// Asks what must succeed.
    #[track_caller]
    pub(crate) fn ask<T>(&self, ask: impl AsyncFnOnce(Service) -> Result<Response<T>, Status>) -> T {
        self.call(ask).unwrap_or_else(|status| panic!("{:?}: {}", status.code(), status.message()))
    }
}
