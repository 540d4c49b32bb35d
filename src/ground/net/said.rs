//! What an answer to a request says: all of it, or piece by piece as it comes.

use futures_lite::Stream;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Pieces as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Bytes>>>;

/// The body of an answer.
pub enum Said {
    Whole(Bytes),
    InPieces(Pieces),
}

impl Said {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(bytes.into())
    }

    /// Pieces end with this, too, if there are any.
    pub fn until(&mut self, end: impl Future<Output = ()> + 'static) {
        if let Self::InPieces(pieces) = self {
            let nothing: Pieces = Box::pin(futures_lite::stream::empty());
            let all = std::mem::replace(pieces, nothing);
            let end = Box::pin(end);
            *pieces = Box::pin(Until { pieces: all, end });
        }
    }
}

impl Default for Said {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(std::mem::take(bytes))),
            Self::InPieces(pieces) => pieces.as_mut().poll_next(cx),
        };
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::InPieces(_) => SizeHint::new(),
        }
    }
}

struct Until {
    pieces: Pieces,
    end: Pin<Box<dyn Future<Output = ()>>>,
}

impl Stream for Until {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => self.pieces.as_mut().poll_next(cx),
        }
    }
}
