// U-MedSAM edge for C++17: umedsam.h with handles that free themselves and failures that are thrown.
//
//     umedsam::Session session{umedsam::Model::bundled()};
//     umedsam::Embedding embedding;
//     session.encode({pixels, width, height, 0, 1, UMEDSAM_PIXEL_TYPE_U8}, embedding);
//     umedsam::Masks found = session.segment(embedding, {{40, 60, 180, 210}});
//
// Objects can be moved, not copied. Which calls may run on which threads, umedsam.h says.
#ifndef UMEDSAM_HPP
#define UMEDSAM_HPP

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "umedsam.h"

namespace umedsam {

/// A call that failed: what() is its message.
class Error : public std::runtime_error {
public:
    explicit Error(umedsam_status status) : std::runtime_error(umedsam_last_error_message()), status_(status) {}

    umedsam_status status() const noexcept { return status_; }

private:
    umedsam_status status_;
};

inline void check(umedsam_status status) {
    if (status != UMEDSAM_STATUS_OK) {
        throw Error(status);
    }
}

/// Whether the library that the program runs with has the interface of the header.
inline bool is_compatible() noexcept { return umedsam_abi_version() == UMEDSAM_ABI_VERSION; }

namespace detail {

template <typename T, void (*release)(T *)>
struct Release {
    void operator()(T *handle) const noexcept { release(handle); }
};

template <typename T, void (*release)(T *)>
using Handle = std::unique_ptr<T, Release<T, release>>;

/// The handle that a call of the C interface makes.
template <typename H, typename Make>
H made(Make make) {
    typename H::pointer handle = nullptr;
    check(make(&handle));
    return H(handle);
}

}  // namespace detail

/// A checked model. Any number of threads may use it at once.
class Model {
public:
    /// The model that is part of the library.
    static Model bundled() {
        return Model(detail::made<Handle>([](auto out) { return umedsam_model_bundled(out); }));
    }

    /// A model file.
    static Model load(const std::string &path) {
        return Model(detail::made<Handle>([&](auto out) { return umedsam_model_load(path.c_str(), out); }));
    }

    std::string name() const {
        const char *name = nullptr;
        check(umedsam_model_name(get(), &name));
        return name;
    }

    const umedsam_model *get() const noexcept { return handle_.get(); }

private:
    using Handle = detail::Handle<umedsam_model, umedsam_model_free>;
    explicit Model(Handle handle) : handle_(std::move(handle)) {}
    Handle handle_;
};

/// How a session runs.
class Options {
public:
    Options &threads(std::size_t threads) {
        check(umedsam_options_set_threads(handle_.get(), threads));
        return *this;
    }

    Options &max_batch(std::size_t boxes) {
        check(umedsam_options_set_max_batch(handle_.get(), boxes));
        return *this;
    }

    Options &precision(umedsam_precision precision) {
        check(umedsam_options_set_precision(handle_.get(), precision));
        return *this;
    }

    const umedsam_options *get() const noexcept { return handle_.get(); }

private:
    using Handle = detail::Handle<umedsam_options, umedsam_options_free>;
    Handle handle_ = detail::made<Handle>([](auto out) { return umedsam_options_new(out); });
};

/// An encoded image.
class Embedding {
public:
    umedsam_embedding *get() const noexcept { return handle_.get(); }

private:
    using Handle = detail::Handle<umedsam_embedding, umedsam_embedding_free>;
    Handle handle_ = detail::made<Handle>([](auto out) { return umedsam_embedding_new(out); });
};

/// The masks of an image's boxes: box by box, row by row, 1 for the object.
struct Masks {
    std::size_t width = 0;
    std::size_t height = 0;
    std::vector<std::uint8_t> values;
    std::vector<float> predicted_iou;

    const std::uint8_t *mask(std::size_t box) const { return values.data() + box * width * height; }
};

/// Masks of the mean of several boxes each, and how sure they are: for each box a map of each pixel's mean probability, a
/// map of its entropy in bits, and a score, 0 to 1.
struct UncertainMasks {
    std::size_t width = 0;
    std::size_t height = 0;
    std::vector<std::uint8_t> values;
    std::vector<float> probabilities;
    std::vector<float> entropy;
    std::vector<float> scores;

    const std::uint8_t *mask(std::size_t box) const { return values.data() + box * width * height; }
};

/// The usual options of Session::segment_uncertain, with another number of boxes if that is given.
inline umedsam_uncertainty uncertainty(std::size_t samples = 0) {
    umedsam_uncertainty options;
    check(umedsam_uncertainty_default(&options));
    if (samples != 0) {
        options.samples = samples;
    }
    return options;
}

/// The labels of a volume: slice by slice, row by row, i + 1 for the object of box i.
struct Labels {
    std::vector<std::uint16_t> values;
    std::vector<float> predicted_iou;
};

/// A model that is loaded and ready to run. One call at a time may use it.
class Session {
public:
    explicit Session(const Model &model, const Options &options = Options())
        : handle_(detail::made<Handle>(
              [&](auto out) { return umedsam_session_new(model.get(), options.get(), out); })) {}

    /// Encodes an image; one of 16 bits needs a window.
    void encode(const umedsam_image &image, Embedding &embedding, const umedsam_window *window = nullptr) {
        check(umedsam_encode(handle_.get(), &image, window, embedding.get()));
    }

    /// Segments the objects in boxes of an encoded image.
    Masks segment(const Embedding &embedding, const std::vector<umedsam_box> &boxes) {
        Masks found;
        std::size_t size = 0;
        check(umedsam_embedding_size(embedding.get(), &found.width, &found.height));
        check(umedsam_embedding_mask_bytes(embedding.get(), boxes.size(), &size));
        found.values.resize(size);
        found.predicted_iou.resize(boxes.size());
        check(umedsam_segment(handle_.get(), embedding.get(), boxes.data(), boxes.size(), found.values.data(), size,
                              nullptr, 0, found.predicted_iou.data()));
        return found;
    }

    /// Segments the objects in boxes of an encoded image, each from its box and from others like it.
    UncertainMasks segment_uncertain(const Embedding &embedding, const std::vector<umedsam_box> &boxes,
                                     const umedsam_uncertainty &options = uncertainty()) {
        UncertainMasks found;
        std::size_t size = 0;
        check(umedsam_embedding_size(embedding.get(), &found.width, &found.height));
        check(umedsam_embedding_mask_bytes(embedding.get(), boxes.size(), &size));
        found.values.resize(size);
        found.probabilities.resize(size);
        found.entropy.resize(size);
        found.scores.resize(boxes.size());
        check(umedsam_segment_uncertain(handle_.get(), embedding.get(), boxes.data(), boxes.size(), &options,
                                        found.values.data(), size, found.probabilities.data(), size,
                                        found.entropy.data(), size, found.scores.data()));
        return found;
    }

    umedsam_session *get() const noexcept { return handle_.get(); }

private:
    using Handle = detail::Handle<umedsam_session, umedsam_session_free>;
    Handle handle_;
};

/// A volume to be segmented. What its functions throw, segment() throws.
class Volume {
public:
    /// Gives the image of slice z; its pixels must stay until the next slice is asked for.
    using Slice = std::function<umedsam_image(std::size_t z)>;
    /// Is told of the slices done and in all, and returns whether to go on.
    using Progress = std::function<bool(std::size_t done, std::size_t total)>;

    Volume(std::size_t depth, std::size_t height, std::size_t width)
        : handle_(detail::made<Handle>([&](auto out) { return umedsam_volume_new(depth, height, width, out); })),
          calls_(std::make_unique<Calls>()) {}

    /// Slices in memory without gaps.
    Volume &voxels(const void *voxels, umedsam_pixel_type type, std::int32_t channels = 1) {
        check(umedsam_volume_set_voxels(handle_.get(), voxels, channels, type, 0, 0));
        return *this;
    }

    Volume &slices(Slice slice) {
        calls_->slice = std::move(slice);
        check(umedsam_volume_set_slices(handle_.get(), slice_call, calls_.get()));
        return *this;
    }

    Volume &progress(Progress progress) {
        calls_->progress = std::move(progress);
        check(umedsam_volume_set_progress(handle_.get(), progress_call, calls_.get()));
        return *this;
    }

    Volume &window(const umedsam_window &window) {
        check(umedsam_volume_set_window(handle_.get(), &window));
        return *this;
    }

    Volume &cache_bytes(std::size_t bytes) {
        check(umedsam_volume_set_cache_bytes(handle_.get(), bytes));
        return *this;
    }

    /// Segments the objects in boxes. Throws Error with UMEDSAM_STATUS_CANCELLED if the progress function said so.
    Labels segment(Session &session, const std::vector<umedsam_voxel_box> &boxes) {
        Labels found;
        std::size_t count = 0;
        check(umedsam_volume_label_count(handle_.get(), &count));
        found.values.resize(count);
        found.predicted_iou.resize(boxes.size());
        calls_->thrown = nullptr;
        umedsam_status status = umedsam_volume_segment(handle_.get(), session.get(), boxes.data(), boxes.size(),
                                                       found.values.data(), count, found.predicted_iou.data());
        if (calls_->thrown) {
            std::rethrow_exception(calls_->thrown);
        }
        check(status);
        return found;
    }

private:
    using Handle = detail::Handle<umedsam_volume, umedsam_volume_free>;

    /// Where it is when the volume is moved, too.
    struct Calls {
        Slice slice;
        Progress progress;
        std::exception_ptr thrown;
    };

    // No exception may leave these two: it waits until the C call is over.
    static std::int32_t slice_call(void *user, std::size_t z, umedsam_image *image) noexcept {
        Calls &calls = *static_cast<Calls *>(user);
        try {
            *image = calls.slice(z);
            return 0;
        } catch (...) {
            calls.thrown = std::current_exception();
            return 1;
        }
    }

    static std::int32_t progress_call(void *user, std::size_t done, std::size_t total) noexcept {
        Calls &calls = *static_cast<Calls *>(user);
        try {
            return calls.progress(done, total) ? 0 : 1;
        } catch (...) {
            calls.thrown = std::current_exception();
            return 1;
        }
    }

    Handle handle_;
    std::unique_ptr<Calls> calls_;
};

}  // namespace umedsam

#endif  // UMEDSAM_HPP
