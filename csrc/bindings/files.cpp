#include "audio/listing.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/owned.hpp"
#include "bindings/paths.hpp"
#include "bindings/without_gil.hpp"

namespace clinaug::bindings {
namespace {

py::tuple list(const py::object& path, const std::vector<std::string>& suffixes, std::int64_t threads) {
  const std::string root = path_bytes(path);
  Listing listing;
  try {
    WithoutGil released;
    listing = list_audio(root, suffixes, threads);
  } catch (const Unlistable& error) {
    errno = error.code;
    PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path_text(error.path).ptr());
    throw py::error_already_set();
  }
  py::list labels, unlabelled, left_out, dead_links;
  for (const auto& [label, n] : listing.labels) labels.append(py::make_tuple(py::bytes(label), n));
  for (const std::string& name : listing.unlabelled) unlabelled.append(path_text(name));
  for (const std::string& name : listing.left_out) left_out.append(path_text(name));
  for (const std::string& name : listing.dead_links) dead_links.append(path_text(name));
  py::dict ignored;
  for (const auto& [suffix, n] : listing.ignored) ignored[path_text(suffix)] = n;
  return py::make_tuple(Owned<char>{std::move(listing.names)}, Owned<std::int32_t>{std::move(listing.offsets)},
                        Owned<std::int64_t>{std::move(listing.bytes)}, labels, unlabelled, ignored, left_out, dead_links);
}

void start_writing(int descriptor, std::int64_t first, std::int64_t n_bytes) {
#ifdef __linux__
  WithoutGil released;
  ::sync_file_range(descriptor, first, n_bytes, SYNC_FILE_RANGE_WRITE);  // a hint: who needs certainty calls fsync
#else
  static_cast<void>(descriptor + first + n_bytes);
#endif
}

void let_go(int descriptor, std::int64_t first, std::int64_t n_bytes) {
#ifdef __linux__
  WithoutGil released;
  ::posix_fadvise(descriptor, first, n_bytes, POSIX_FADV_DONTNEED);  // a hint: what is not on disk yet stays
#else
  static_cast<void>(descriptor + first + n_bytes);
#endif
}

void reserve(int descriptor, std::int64_t first, std::int64_t n_bytes) {
#ifdef __linux__
  WithoutGil released;
  ::fallocate(descriptor, FALLOC_FL_KEEP_SIZE, first, n_bytes);  // a hint: where there is no room, writing will say so
#else
  static_cast<void>(descriptor + first + n_bytes);
#endif
}

}  // namespace

void bind_files(py::module_& module) {
  bind_owned<char>(module, "Chars");
  bind_owned<std::int32_t>(module, "Int32s");
  bind_owned<std::int64_t>(module, "Int64s");
  module.def("list_audio", &list, py::arg("root"), py::arg("suffixes"), py::arg("threads"),
             "(names, offsets, bytes, labels, unlabelled, ignored, left_out, dead_links) of the audio files in a folder");
  module.def("is_of_the_name", &is_of_the_name, py::arg("error"), "whether an errno tells what is wrong with a name");
  module.def("start_writing", &start_writing, py::arg("descriptor"), py::arg("first"), py::arg("n_bytes"),
             "have the system begin to write these bytes of a file to disk");
  module.def("let_go", &let_go, py::arg("descriptor"), py::arg("first"), py::arg("n_bytes"),
             "have the system's cache let go of these bytes of a file, as far as they are on disk");
  module.def("reserve", &reserve, py::arg("descriptor"), py::arg("first"), py::arg("n_bytes"),
             "have the file system set these bytes of a file aside");
}

}  // namespace clinaug::bindings
