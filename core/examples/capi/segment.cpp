// As segment.c and volume.c in one, by umedsam.hpp:
//
//     segment-cpp picture PIXELS OUT WIDTH HEIGHT CHANNELS X0 Y0 X1 Y1 [...]
//     segment-cpp volume VOXELS OUT DEPTH HEIGHT WIDTH X0 Y0 Z0 X1 Y1 Z1 [...]
#include <fstream>
#include <iostream>
#include <iterator>

#include "umedsam.hpp"

namespace {

std::vector<std::uint8_t> read(const std::string &path, std::size_t size) {
    std::ifstream file(path, std::ios::binary);
    std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (bytes.size() != size) {
        throw std::runtime_error(path + " does not hold " + std::to_string(size) + " bytes");
    }
    return bytes;
}

void write(const std::string &path, const std::string &head, const void *bytes, std::size_t size) {
    std::ofstream file(path, std::ios::binary);
    file << head;
    file.write(static_cast<const char *>(bytes), static_cast<std::streamsize>(size));
    file.close();
    if (!file) {
        throw std::runtime_error(path + " cannot be written");
    }
}

void picture(const std::vector<std::string> &args, const std::vector<double> &numbers) {
    std::size_t width = std::stoul(args[2]), height = std::stoul(args[3]), channels = std::stoul(args[4]);
    std::vector<std::uint8_t> pixels = read(args[0], width * height * channels);
    std::vector<umedsam_box> boxes;
    for (std::size_t i = 0; i + 4 <= numbers.size(); i += 4) {
        boxes.push_back({numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]});
    }
    umedsam::Session session{umedsam::Model::bundled(), umedsam::Options().threads(1)};
    umedsam::Embedding embedding;
    session.encode({pixels.data(), width, height, 0, static_cast<std::int32_t>(channels), UMEDSAM_PIXEL_TYPE_U8},
                   embedding);
    umedsam::Masks found = session.segment(embedding, boxes);
    // From one box each, the mask of the mean is the mask.
    umedsam::UncertainMasks alone = session.segment_uncertain(embedding, boxes, umedsam::uncertainty(1));
    if (alone.values != found.values) {
        throw std::runtime_error("a mean of one mask is another mask");
    }
    for (float score : session.segment_uncertain(embedding, boxes).scores) {
        std::cerr << "score " << score << "\n";
    }
    std::string head = "P5\n" + args[2] + " " + args[3] + "\n255\n";
    for (std::size_t i = 0; i < boxes.size(); i++) {
        std::vector<std::uint8_t> white(found.mask(i), found.mask(i) + width * height);
        for (std::uint8_t &pixel : white) {
            pixel = pixel ? 255 : 0;
        }
        write(args[1] + "-" + std::to_string(i + 1) + ".pgm", head, white.data(), white.size());
    }
}

void volume(const std::vector<std::string> &args, const std::vector<double> &n) {
    std::size_t depth = std::stoul(args[2]), height = std::stoul(args[3]), width = std::stoul(args[4]);
    std::vector<std::uint8_t> voxels = read(args[0], depth * height * width);
    std::vector<umedsam_voxel_box> boxes;
    for (std::size_t i = 0; i + 6 <= n.size(); i += 6) {
        boxes.push_back({n[i], n[i + 1], n[i + 2], n[i + 3], n[i + 4], n[i + 5]});
    }
    umedsam::Session session{umedsam::Model::bundled()};
    umedsam::Volume volume(depth, height, width);

    // What a callback throws comes out of segment(), not out of the C library.
    struct Stop {};
    bool stopped = false;
    volume.slices([](std::size_t) -> umedsam_image { throw Stop(); });
    try {
        volume.segment(session, boxes);
    } catch (const Stop &) {
        stopped = true;
    }
    if (!stopped) {
        throw std::runtime_error("the exception of a callback was lost");
    }

    volume.voxels(voxels.data(), UMEDSAM_PIXEL_TYPE_U8).progress([](std::size_t done, std::size_t total) {
        std::cerr << done << " of " << total << " slices\n";
        return true;
    });
    umedsam::Labels found = volume.segment(session, boxes);
    write(args[1], "", found.values.data(), found.values.size() * sizeof(std::uint16_t));
}

}  // namespace

int main(int argc, char **argv) {
    std::vector<std::string> args(argv + 1, argv + argc);
    if (args.size() < 10 || (args[0] != "picture" && args[0] != "volume")) {
        std::cerr << "usage: segment-cpp picture|volume IN OUT SIZE... BOX...\n";
        return 2;
    }
    try {
        if (!umedsam::is_compatible()) {
            throw std::runtime_error("the library has another interface than the header");
        }
        std::vector<double> numbers;
        for (std::size_t i = 6; i < args.size(); i++) {
            numbers.push_back(std::stod(args[i]));
        }
        std::vector<std::string> rest(args.begin() + 1, args.begin() + 6);
        args[0] == "picture" ? picture(rest, numbers) : volume(rest, numbers);
    } catch (const std::exception &error) {
        std::cerr << "segment-cpp: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
