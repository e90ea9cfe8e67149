#include "common/cuda.hpp"
